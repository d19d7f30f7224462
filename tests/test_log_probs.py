"""Log-probabilities in chunks: those of a float64 softmax of all logits, whole and split over ranks."""

from pathlib import Path

import torch
import torch.multiprocessing as multiprocessing
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributed import ReduceOp, all_reduce, destroy_process_group, init_process_group

from nemo_hs2pref.models.policy.log_probs import token_log_probs

TOKENS, HIDDEN, ROWS, VOCABULARY = 37, 16, 24, 21  # three rows of padding, on the last rank
TEMPERATURE = 0.7


def inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, output layer, targets, and what the log-probabilities are multiplied by."""
    draw = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(size, HIDDEN, generator=draw, dtype=torch.float64) for size in (TOKENS, ROWS))
    targets = torch.randint(0, VOCABULARY, (TOKENS,), generator=draw)
    factors = torch.randn(TOKENS, generator=draw, dtype=torch.float64)
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets, factors.to(dtype)


def expected() -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities and both gradients from all logits at once, in float64."""
    hidden, weight, targets, factors = inputs(torch.float64)
    every = torch.log_softmax(hidden @ weight[:VOCABULARY].t() / TEMPERATURE, dim=1)
    log_probs = every[torch.arange(TOKENS), targets]
    (log_probs * factors).sum().backward()
    assert hidden.grad is not None and weight.grad is not None
    return log_probs.detach(), hidden.grad, weight.grad


def assert_as_expected(log_probs: Tensor, hidden_grad: Tensor, weight_grad: Tensor, rows: slice) -> None:
    wanted, wanted_hidden, wanted_weight = expected()
    torch.testing.assert_close(log_probs.double(), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(hidden_grad.double(), wanted_hidden, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weight_grad.double(), wanted_weight[rows], rtol=1e-5, atol=1e-5)


def test_chunks_give_the_softmax_of_all_logits_and_its_gradients() -> None:
    for chunk in (1, 5, TOKENS, 1000):
        hidden, weight, targets, factors = inputs(torch.float32)
        log_probs = token_log_probs(
            hidden, weight, targets, temperature=TEMPERATURE, vocabulary=(0, VOCABULARY), chunk=chunk
        )
        (log_probs * factors).sum().backward()
        assert hidden.grad is not None and weight.grad is not None
        assert_as_expected(log_probs.detach(), hidden.grad, weight.grad, slice(None))
        assert not weight.grad[VOCABULARY:].any()


def split_worker(rank: int, ranks: int, meeting: str) -> None:
    init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
    group = torch.distributed.group.WORLD
    hidden, weight, targets, factors = inputs(torch.float32)
    mine = slice(rank * ROWS // ranks, (rank + 1) * ROWS // ranks)
    part = weight.detach()[mine].clone().requires_grad_()
    log_probs = token_log_probs(
        hidden, part, targets, temperature=TEMPERATURE, vocabulary=(mine.start, VOCABULARY), group=group, chunk=8
    )
    (log_probs * factors).sum().backward()
    assert hidden.grad is not None and part.grad is not None
    all_reduce(hidden.grad, ReduceOp.SUM, group=group)
    assert_as_expected(log_probs.detach(), hidden.grad, part.grad, mine)
    destroy_process_group()


def test_a_vocabulary_split_over_ranks_gives_the_same(tmp_path: Path) -> None:
    multiprocessing.spawn(split_worker, args=(2, str(tmp_path / "store")), nprocs=2)


def test_nothing_is_kept_of_the_logits() -> None:
    """Between forward and backward: the arguments, and one number a token."""
    hidden, weight, targets, _ = inputs(torch.float32)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        token_log_probs(hidden, weight, targets)
    new = [
        tensor for tensor in kept if tensor.data_ptr() not in (hidden.data_ptr(), weight.data_ptr(), targets.data_ptr())
    ]
    assert sum(tensor.numel() for tensor in new) == TOKENS


def test_no_token_gives_no_number_and_gradients_of_zero() -> None:
    hidden, weight, targets, _ = inputs(torch.float32)
    token_log_probs(hidden[:0], weight, targets[:0]).sum().backward()
    assert weight.grad is not None and not weight.grad.any()


@given(scale=st.floats(0.01, 1000), seed=st.integers(0, 10))
def test_probabilities_of_all_tokens_sum_to_one(scale: float, seed: int) -> None:
    """However large the logits are."""
    draw = torch.Generator().manual_seed(seed)
    hidden, weight = scale * torch.randn(1, 8, generator=draw), torch.randn(30, 8, generator=draw)
    log_probs = token_log_probs(hidden.expand(30, -1), weight, torch.arange(30), chunk=7)
    rounding = 1e-6 * (1 + (hidden @ weight.t()).abs().max().item())  # of float32, in a logit
    torch.testing.assert_close(log_probs.exp().sum(), torch.tensor(1.0), rtol=0, atol=rounding)
