"""The layers under NeMo: which is applied where, and that what takes an upstream class's place computes the same."""

from enum import Enum
from types import SimpleNamespace

import pytest
import torch

from nemo_hs2pref.checkpoint.megatron import writer
from nemo_hs2pref.runtime.platform import machine, no_apex_te, no_cuda
from nemo_hs2pref.runtime.platform.adamw import AdamW
from nemo_hs2pref.runtime.platform.sdpa_attention import SdpaAttention

AttnMaskType = Enum("AttnMaskType", ["causal", "padding"])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("cuda", [True, False])
def test_each_layer_is_applied_only_where_it_is_needed(
    cuda: bool, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[str] = []
    for layer in (no_cuda, no_apex_te):
        for moment in ("before_nemo", "after_nemo"):
            name = layer.__name__.rsplit(".", 1)[-1]
            monkeypatch.setattr(layer, moment, lambda name=f"{name}.{moment}": applied.append(name))
    monkeypatch.setattr(writer, "adapt_writer", lambda: applied.append("torch_dist"))
    monkeypatch.setattr(machine, "quiet_loggers", lambda: None)
    monkeypatch.setattr(machine, "quiet_upstream", lambda: None)
    monkeypatch.setattr(machine, "has_cuda", lambda: cuda)
    monkeypatch.setattr(machine, "has_apex_and_te", lambda: fused)

    machine.prepare.__wrapped__()

    layers = {"no_cuda": not cuda, "no_apex_te": not fused}
    assert applied == [
        *(f"{name}.before_nemo" for name, needed in layers.items() if needed),
        "torch_dist",
        *(f"{name}.after_nemo" for name, needed in layers.items() if needed),
    ]


def test_a_placeholder_can_be_imported_but_not_built() -> None:
    layer = type("TELinear", (no_apex_te.NeedsTransformerEngine,), {})
    with pytest.raises(RuntimeError, match="TELinear needs Transformer Engine"):
        layer(3, 4)


def test_adamw_is_torchs_with_the_step_in_the_group() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Linear(5, 3).double() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    settings = {"lr": 1e-2, "weight_decay": 0.1, "betas": (0.9, 0.98), "eps": 1e-8}
    first, second = AdamW(ours.parameters(), **settings), torch.optim.AdamW(theirs.parameters(), **settings)
    for _ in range(4):
        x = torch.randn(7, 5, dtype=torch.float64)
        for model, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    assert first.param_groups[0]["step"] == 4
    assert all(set(state) == {"exp_avg", "exp_avg_sq"} for state in first.state.values())


def test_sdpa_attention_is_causal_attention_with_grouped_heads() -> None:
    torch.manual_seed(0)
    length, batch, heads, groups, dim = 6, 2, 4, 2, 8
    query = torch.randn(length, batch, heads, dim)
    key, value = (torch.randn(length, batch, groups, dim) for _ in range(2))
    config = SimpleNamespace(attention_dropout=0.0, apply_query_key_layer_scaling=False)
    attention = SdpaAttention(config, 1, AttnMaskType.causal, "self")

    shared = [tensor.repeat_interleave(heads // groups, dim=2) for tensor in (key, value)]
    scores = torch.einsum("sbhd,tbhd->bhst", query, shared[0]) / dim**0.5
    scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), -torch.inf)
    expected = torch.einsum("bhst,tbhd->sbhd", scores.softmax(-1), shared[1]).flatten(2)
    torch.testing.assert_close(attention(query, key, value, None), expected)


def test_packed_rows_do_not_see_each_other() -> None:
    """The interface of Transformer Engine's attention: [T, heads, head_dim] and where each row begins."""
    torch.manual_seed(0)
    lengths, heads, groups, dim = (5, 1, 7), 4, 2, 8
    rows = [[torch.randn(n, 1, h, dim) for h in (heads, groups, groups)] for n in lengths]
    config = SimpleNamespace(attention_dropout=0.0, apply_query_key_layer_scaling=False)
    attention = SdpaAttention(config, 1, AttnMaskType.causal, "self")
    places = SimpleNamespace(
        qkv_format="thd", cu_seqlens_q=torch.tensor([0, 5, 6, 13], dtype=torch.int32), cu_seqlens_q_padded=None
    )

    packed = attention(
        *(torch.cat(parts).squeeze(1) for parts in zip(*rows, strict=True)), None, packed_seq_params=places
    )

    assert packed.shape == (sum(lengths), heads * dim)
    torch.testing.assert_close(packed, torch.cat([attention(*row, None) for row in rows]).squeeze(1))


def test_sdpa_attention_refuses_what_it_would_compute_wrongly() -> None:
    config = SimpleNamespace(attention_dropout=0.1, apply_query_key_layer_scaling=False)
    with pytest.raises(AssertionError):
        SdpaAttention(config, 1, AttnMaskType.causal, "self")
    config.attention_dropout = 0.0
    with pytest.raises(AssertionError):
        SdpaAttention(config, 1, AttnMaskType.padding, "self")


def test_norm_tells_that_its_gradient_must_be_reduced() -> None:
    """Megatron-Core sums the gradients of parameters that carry the mark over the tensor-parallel ranks."""
    config = SimpleNamespace(normalization="RMSNorm", sequence_parallel=True)
    norm = no_apex_te.SequenceParallelNorm(config, 4)
    assert norm.weight.sequence_parallel is True
    x = torch.randn(3, 4)
    torch.testing.assert_close(norm(x), x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5))
    config.normalization = "LayerNorm"
    with pytest.raises(ValueError, match="only RMSNorm"):
        no_apex_te.SequenceParallelNorm(config, 4)
