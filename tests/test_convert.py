"""Hugging Face to NeMo: names, shapes, values, configuration and refusals. None of it builds a NeMo model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from small_llama import FFN, GROUPS, HEAD_DIM, HEADS, HIDDEN, LAYERS, VOCAB, llama_config, save_llama
from torch import Tensor
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.families.config import model_config
from nemo_hs2pref.checkpoint.families.fused import group_qkv
from nemo_hs2pref.checkpoint.hugging_face import from_hf
from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.megatron.writer import adapt_writer
from nemo_hs2pref.cli import main
from nemo_hs2pref.errors import CheckpointError

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning"),  # we read in one process on purpose
    pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning"),  # in megatron-core
]


def edit_config(folder: Path, **changes: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def stored_metadata(checkpoint: Path) -> dict[str, TensorStorageMetadata]:
    metadata = dcp.FileSystemReader(checkpoint / "model_weights").read_metadata().state_dict_metadata
    return {key: entry for key, entry in metadata.items() if isinstance(entry, TensorStorageMetadata)}


def stored_shapes(checkpoint: Path) -> dict[str, tuple[int, ...]]:
    return {key: tuple(entry.size) for key, entry in stored_metadata(checkpoint).items()}


def stored_tensors(checkpoint: Path, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    tensors = {key: torch.full(shape, torch.nan, dtype=dtype) for key, shape in stored_shapes(checkpoint).items()}
    dcp.load(tensors, storage_reader=dcp.FileSystemReader(checkpoint / "model_weights"), no_dist=True)
    return tensors


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("hf") / "llama")


@pytest.fixture(scope="module")
def converted(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    destination = tmp_path_factory.mktemp("nemo") / "llama"
    convert_from_hf(llama, destination)
    return destination


# What is written


def test_checkpoint_has_the_names_and_shapes_that_megatron_core_asks_for(converted: Path) -> None:
    layer = "model.decoder.layers."
    assert stored_shapes(converted) == {
        "model.embedding.word_embeddings.weight": (1024, HIDDEN),
        layer + "self_attention.linear_qkv.layer_norm_weight": (LAYERS, HIDDEN),
        layer + "self_attention.linear_qkv.weight": (LAYERS, (HEADS + 2 * GROUPS) * HEAD_DIM, HIDDEN),
        layer + "self_attention.linear_proj.weight": (LAYERS, HIDDEN, HEADS * HEAD_DIM),
        layer + "mlp.linear_fc1.layer_norm_weight": (LAYERS, HIDDEN),
        layer + "mlp.linear_fc1.weight": (LAYERS, 2 * FFN, HIDDEN),
        layer + "mlp.linear_fc2.weight": (LAYERS, HIDDEN, FFN),
        "model.decoder.final_layernorm.weight": (HIDDEN,),
        "model.output_layer.weight": (1024, HIDDEN),
    }


def test_extra_states_of_all_layers_are_there_and_empty(converted: Path) -> None:
    metadata = dcp.FileSystemReader(converted / "model_weights").read_metadata().state_dict_metadata
    modules = [
        *("self_attention.linear_qkv", "self_attention.core_attention", "self_attention.linear_proj"),
        *("mlp.linear_fc1", "mlp.linear_fc2"),
    ]
    expected = {f"model.decoder.layers.{m}._extra_state/shard_{i}_{LAYERS}" for m in modules for i in range(LAYERS)}
    expected.add("model.decoder.final_layernorm._extra_state/shard_0_1")
    states: dict[str, Any] = dict.fromkeys(expected)
    assert {key for key in metadata if "_extra_state" in key} == expected
    dcp.load(states, storage_reader=dcp.FileSystemReader(converted / "model_weights"), no_dist=True)
    assert all(state == [None] for state in states.values())


def test_every_weight_of_the_source_is_in_its_place(llama: Path, converted: Path) -> None:
    source = LlamaForCausalLM.from_pretrained(llama).state_dict()
    stored = stored_tensors(converted)
    for key, name in {"embedding.word_embeddings": "model.embed_tokens", "output_layer": "lm_head"}.items():
        torch.testing.assert_close(stored[f"model.{key}.weight"][:VOCAB], source[f"{name}.weight"], rtol=0, atol=0)
        assert not stored[f"model.{key}.weight"][VOCAB:].any()
    assert stored["model.decoder.final_layernorm.weight"].equal(source["model.norm.weight"])
    for i in range(LAYERS):
        own = {key.removeprefix("model.decoder.layers."): value[i] for key, value in stored.items() if "layers" in key}
        hf = {key.removeprefix(f"model.layers.{i}."): value for key, value in source.items() if f"layers.{i}." in key}
        gate_up = torch.cat([hf["mlp.gate_proj.weight"], hf["mlp.up_proj.weight"]])
        assert own["mlp.linear_fc1.weight"].equal(gate_up)
        assert own["mlp.linear_fc2.weight"].equal(hf["mlp.down_proj.weight"])
        assert own["self_attention.linear_proj.weight"].equal(hf["self_attn.o_proj.weight"])
        assert own["self_attention.linear_qkv.layer_norm_weight"].equal(hf["input_layernorm.weight"])
        assert own["mlp.linear_fc1.layer_norm_weight"].equal(hf["post_attention_layernorm.weight"])
        qkv = group_qkv(*(hf[f"self_attn.{x}_proj.weight"] for x in "qkv"), groups=GROUPS)
        assert own["self_attention.linear_qkv.weight"].equal(qkv)


def test_a_group_holds_its_queries_then_its_key_then_its_value() -> None:
    """Rows are labelled (kind, head), so the order can be read off the result."""
    label = {"q": 0.0, "k": 100.0, "v": 200.0}
    heads = {"q": HEADS, "k": GROUPS, "v": GROUPS}
    query, key, value = (label[x] + torch.arange(heads[x]).repeat_interleave(HEAD_DIM)[:, None] for x in "qkv")
    qkv = group_qkv(query, key, value, groups=GROUPS)
    assert qkv[::HEAD_DIM, 0].tolist() == [0, 1, 100, 200, 2, 3, 101, 201]


def test_grouped_projections_can_be_taken_apart_again() -> None:
    query, key, value = (torch.randn(heads * HEAD_DIM, HIDDEN) for heads in (HEADS, GROUPS, GROUPS))
    grouped = group_qkv(query, key, value, groups=GROUPS).view(GROUPS, HEADS // GROUPS + 2, HEAD_DIM, HIDDEN)
    assert grouped[:, :-2].reshape(query.shape).equal(query)
    assert grouped[:, -2].reshape(key.shape).equal(key)
    assert grouped[:, -1].reshape(value.shape).equal(value)


def test_tied_embeddings_are_written_once(tmp_path: Path) -> None:
    manifest = convert_from_hf(save_llama(tmp_path / "hf", tie_word_embeddings=True), tmp_path / "nemo")
    model = LlamaForCausalLM.from_pretrained(tmp_path / "hf")
    assert "model.output_layer.weight" not in stored_shapes(tmp_path / "nemo")
    assert manifest.num_parameters == model.num_parameters()
    assert OmegaConf.load(tmp_path / "nemo" / "model_config.yaml").share_embeddings_and_output_weights is True


def test_first_layers_are_kept(llama: Path, converted: Path, tmp_path: Path) -> None:
    manifest = convert_from_hf(llama, tmp_path / "two", num_layers=2)
    key = "model.decoder.layers.self_attention.linear_qkv.weight"
    assert stored_tensors(tmp_path / "two")[key].equal(stored_tensors(converted)[key][:2])
    assert (manifest.num_layers, manifest.source_num_layers) == (2, LAYERS)
    assert OmegaConf.load(tmp_path / "two" / "model_config.yaml").num_layers == 2


@pytest.mark.parametrize(("asked", "precision"), [(None, "bf16"), (torch.float32, 32)])
def test_dtype_is_the_sources_unless_asked_otherwise(
    asked: torch.dtype | None, precision: int | str, tmp_path: Path
) -> None:
    convert_from_hf(save_llama(tmp_path / "hf", dtype=torch.bfloat16), tmp_path / "nemo", dtype=asked)
    dtypes = {entry.properties.dtype for entry in stored_metadata(tmp_path / "nemo").values()}
    assert dtypes == {asked or torch.bfloat16}
    assert OmegaConf.load(tmp_path / "nemo" / "model_config.yaml").precision == precision


def test_tokenizer_and_manifest_lie_beside_the_weights(llama: Path, converted: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(converted / "tokenizer")
    assert tokenizer("w7 w1002")["input_ids"] == [7, 1002]
    manifest = json.loads((converted / "hs2pref.json").read_text())
    assert manifest["source"] == str(llama)
    assert manifest["num_parameters"] == LlamaForCausalLM.from_pretrained(llama).num_parameters()


# The configuration


def test_configuration_maps_llama_to_nemo() -> None:
    config = model_config(llama_config(rope_scaling=None), num_layers=2, dtype=torch.float32, tokenizer="tokenizer")
    expected = {
        "mcore_gpt": True,
        "num_layers": 2,
        "hidden_size": HIDDEN,
        "ffn_hidden_size": FFN,
        "num_attention_heads": HEADS,
        "num_query_groups": GROUPS,
        "kv_channels": HEAD_DIM,
        "max_position_embeddings": 512,
        "normalization": "rmsnorm",
        "activation": "fast-swiglu",
        "bias": False,
        "layernorm_epsilon": 1e-6,
        "position_embedding_type": "rope",
        "rotary_percentage": 1.0,
        "rotary_base": 500000.0,
        "seq_len_interpolation_factor": None,
        "share_embeddings_and_output_weights": False,
        "vocab_size": VOCAB,
        "override_vocab_size": 1024,
        "tokenizer": {"library": "huggingface", "type": "tokenizer", "use_fast": True},
    }
    assert expected.items() <= config.items()
    assert "scale_positional_embedding" not in config


def test_configuration_scales_rotary_frequencies_as_llama_3_1_does() -> None:
    config = model_config(llama_config(), num_layers=2, dtype=torch.float32, tokenizer="tokenizer")
    expected = {
        "scale_positional_embedding": True,
        "scale_factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "old_context_len": 64,
        "seq_len_interpolation_factor": None,  # NeMo 2.1's converter wrote 8 here, which stretches all positions
    }
    assert expected.items() <= config.items()


# Refusals


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"architectures": ["LlamaForTokenClassification"]},
            "of Llamas only LlamaForCausalLM and LlamaForSequenceClassification are read",
        ),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; only 'silu' converts"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling is of type 'linear'; only 'llama3'"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "weights are quantized"),
        ({"num_hidden_layers": 4}, r"model\.layers\.3\.\S* is missing, one of 9 that config\.json asks for"),
        ({"intermediate_size": 128}, r"gate_proj\.weight is \[96, 64\], config\.json asks for \[128, 64\]"),
    ],
)
def test_what_nemo_would_compute_otherwise_is_refused(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        convert_from_hf(edit_config(save_llama(tmp_path / "hf"), **change), tmp_path / "nemo")
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


@pytest.mark.parametrize("key", ["attention_bias", "mlp_bias"])
def test_a_llama_with_biases_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{key} is true; only Llamas without biases convert"):
        convert_from_hf(save_llama(tmp_path / "hf", **{key: True}), tmp_path / "nemo")


def test_float16_asks_for_a_dtype(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"weights are torch\.float16; choose --dtype float32 or bfloat16"):
        convert_from_hf(save_llama(tmp_path / "hf", dtype=torch.float16), tmp_path / "nemo")


@pytest.mark.parametrize("layers", [0, 4])
def test_layers_that_the_source_does_not_have_are_refused(layers: int, llama: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"--layers {layers}: .* has 3 layers; keep 1 to 3"):
        convert_from_hf(llama, tmp_path / "nemo", num_layers=layers)


def test_full_disk_is_noticed_before_writing(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(layout.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CheckpointError, match=r"0\.0 GB free, the checkpoint takes 0\.0 GB; make room"):
        convert_from_hf(llama, tmp_path / "nemo")


def test_nothing_is_left_of_a_conversion_that_fails(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(from_hf, "write_distributed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_from_hf(llama, tmp_path / "nemo")
    assert not list(tmp_path.iterdir())


# The command


def test_command_converts_and_says_what(llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    destination = tmp_path / "nemo"
    command = ["convert", "from-hf", str(llama), str(destination), "--layers", "1", "--dtype", "bfloat16"]
    assert main(command) == 0
    assert "1 of 3 layers" in capsys.readouterr().out
    assert main(command) == 2
    assert f"{destination}: exists already; name a new folder" in capsys.readouterr().err


def test_unknown_source_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "from-hf", str(tmp_path / "nowhere"), str(tmp_path / "nemo")]) == 2
    assert "expected a Hugging Face folder, a .gguf file or a hub id" in capsys.readouterr().err


def test_writer_can_be_adapted_twice() -> None:
    import megatron.core.dist_checkpointing.strategies.filesystem_async as writer

    adapt_writer()
    once = writer._write_item
    adapt_writer()
    assert writer._write_item is once
