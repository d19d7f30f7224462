"""NeMo to Hugging Face: the round trip, what comes along with the weights, and refusals. None of it builds a model."""

import json
import os
import pickle
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from families import (
    FAMILIES,
    assert_same_tensors,
    config_of,
    edit_yaml,
    save_reward_model,
    tensors_of,
)
from safetensors.torch import load_file
from small_llama import VOCAB, save_llama
from torch import Tensor
from torch_dist_files import read_tensors, write_tensors
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, GenerationConfig

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.families.config import hugging_face_config
from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.safetensors import shards
from nemo_hs2pref.checkpoint.safetensors.shards import Entry, write_shards
from nemo_hs2pref.checkpoint.torch_dist import writing
from nemo_hs2pref.checkpoint.torch_dist.pieces import Piece, of_layer, whole
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.checkpoint.torch_dist.writing import write_distributed
from nemo_hs2pref.cli import main
from nemo_hs2pref.errors import CheckpointError

FC1, FC2 = "model.decoder.layers.mlp.linear_fc1.weight", "model.decoder.layers.mlp.linear_fc2.weight"
HEAD = "model.rm_head.weight"


# The round trip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_reward_models_come_back_bit_by_bit(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    source = save_reward_model(tmp_path / "hf", family, dtype=dtype)
    convert_from_hf(source, tmp_path / "nemo")
    convert_to_hf(tmp_path / "nemo", tmp_path / "back")
    assert_same_tensors(tensors_of(source), tensors_of(tmp_path / "back"))
    before, after = config_of(source), config_of(tmp_path / "back")
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert changed <= {"hs2pref", "problem_type", "pad_token_id", "tie_word_embeddings", "model_max_length"}


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"rope_scaling": None}])
def test_language_models_come_back_bit_by_bit(changes: dict[str, Any], tmp_path: Path) -> None:
    source = save_llama(tmp_path / "hf", dtype=torch.bfloat16, **changes)
    convert_from_hf(source, tmp_path / "nemo")
    convert_to_hf(tmp_path / "nemo", tmp_path / "back")
    assert_same_tensors(tensors_of(source), tensors_of(tmp_path / "back"))
    assert len(tensors_of(tmp_path / "back")["model.embed_tokens.weight"]) == VOCAB  # the padding to 1024 is gone
    assert config_of(tmp_path / "back") == config_of(source)
    AutoModelForCausalLM.from_pretrained(tmp_path / "back")


def test_another_dtype_is_one_rounding(reward_hf: Path, reward_nemo: Path, tmp_path: Path) -> None:
    convert_to_hf(reward_nemo, tmp_path / "back", dtype=torch.bfloat16)
    assert_same_tensors({name: value.bfloat16() for name, value in tensors_of(reward_hf).items()},
                        tensors_of(tmp_path / "back"))  # fmt: skip
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "back", torch_dtype="auto")
    assert model.score.weight.dtype == model.model.norm.weight.dtype == torch.bfloat16


def test_the_first_layers_export_as_a_smaller_model(reward_hf: Path, tmp_path: Path) -> None:
    convert_from_hf(reward_hf, tmp_path / "nemo", num_layers=2)
    convert_to_hf(tmp_path / "nemo", tmp_path / "back")
    kept = {name: value for name, value in tensors_of(reward_hf).items() if ".2." not in name and ".3." not in name}
    assert_same_tensors(kept, tensors_of(tmp_path / "back"))
    assert STANDARDIZATION not in opening.read_manifest(tmp_path / "nemo")  # figures of other rewards


def test_generation_config_and_length_of_the_base_survive_a_run(tmp_path: Path) -> None:
    """A run writes its own max_position_embeddings into model_config.yaml."""
    source = save_llama(tmp_path / "hf")
    GenerationConfig(eos_token_id=[2, 7], temperature=0.6, do_sample=True).save_pretrained(source)
    convert_from_hf(source, tmp_path / "nemo")
    edit_yaml(tmp_path / "nemo", max_position_embeddings=128, encoder_seq_length=128)
    convert_to_hf(tmp_path / "nemo", tmp_path / "back")
    found = GenerationConfig.from_pretrained(tmp_path / "back")
    assert (found.eos_token_id, found.temperature) == ([2, 7], 0.6)
    assert config_of(tmp_path / "back")["max_position_embeddings"] == 512


# Any layout


def test_pieces_of_two_tensor_parallel_ranks_are_put_together(reward_hf: Path, nemo: Path, tmp_path: Path) -> None:
    """As megatron-core cuts them: fc1 into gate and up of each rank, fc2 by columns, the embedding by rows."""
    stored = StoredTensors(nemo / layout.WEIGHTS)
    pieces = [piece for name in stored.entries for piece in halves(name, stored.read(name))]
    shutil.rmtree(nemo / layout.WEIGHTS)
    write_distributed(pieces, nemo / layout.WEIGHTS, 4)
    convert_to_hf(nemo, tmp_path / "back")
    assert_same_tensors(tensors_of(reward_hf), tensors_of(tmp_path / "back"))


def halves(name: str, tensor: Tensor) -> Iterator[Piece]:
    axis = 2 if name.endswith(("linear_fc2.weight", "linear_proj.weight")) else 1 if name.startswith("model.dec") else 0
    if "norm" in name or name == HEAD:
        yield whole(name, tensor.dtype, tuple(tensor.shape), lambda: tensor)
        return
    cuts = 4 if name == FC1 else 2
    size = tensor.shape[axis] // cuts
    for i in range(cuts):
        offset = tuple(i * size if a == axis else 0 for a in range(tensor.ndim))
        part = tensor.narrow(axis, i * size, size)
        yield Piece(name, tensor.dtype, tuple(tensor.shape), offset, tuple(part.shape), lambda part=part: part)


# Memory and files


class Watched:
    """Makes tensors and counts those that are alive."""

    def __init__(self) -> None:
        self.alive = self.most = 0

    def make(self, shape: tuple[int, ...]) -> Tensor:
        tensor = torch.ones(shape)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(tensor, self.forget)
        return tensor

    def forget(self) -> None:
        self.alive -= 1


def test_one_tensor_after_the_other_is_written(tmp_path: Path) -> None:
    """The one before may still be there when the next is made, no others."""
    pieces, files = Watched(), Watched()
    make = [lambda: pieces.make((8, 4))] * 20
    write_distributed(
        [of_layer(FC2, torch.float32, (8, 4), read, layer=i, num_layers=20) for i, read in enumerate(make)],
        tmp_path / "nemo",
        20,
    )
    entries = {f"t{i}": Entry((8, 4), torch.float32) for i in range(20)}
    write_shards(entries, ((name, files.make((8, 4))) for name in entries), tmp_path)
    assert (pieces.most <= 2, files.most <= 2, pieces.alive, files.alive) == (True, True, 0, 0)


def test_shards_and_their_index_are_as_transformers_reads_them(
    reward_hf: Path, reward_nemo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 3_000_000)
    convert_to_hf(reward_nemo, tmp_path / "back")
    files = sorted(tmp_path.glob("back/*.safetensors"))
    assert [file.name for file in files] == [f"model-{i + 1:05d}-of-{len(files):05d}.safetensors" for i in range(4)]
    assert all(sum(value.nbytes for value in load_file(file).values()) <= 3_000_000 for file in files)
    index = json.loads((tmp_path / "back" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in tensors_of(reward_hf).values())
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "back").state_dict()
    assert_same_tensors(tensors_of(reward_hf), dict(loaded))


def test_checkpoint_files_are_cut_too(
    reward_hf: Path, reward_nemo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "FILE_BYTES", 3_000_000)
    convert_from_hf(reward_hf, tmp_path / "nemo")
    assert len(list((tmp_path / "nemo" / layout.WEIGHTS).glob("*.distcp"))) == 5  # one of them for the extra states
    names = list(StoredTensors(reward_nemo / layout.WEIGHTS).entries)
    first, second = (read_tensors(path / layout.WEIGHTS, names) for path in (reward_nemo, tmp_path / "nemo"))
    assert_same_tensors(first, second)


def test_full_disk_is_noticed_before_writing(
    reward_nemo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10_000_000}))
    with pytest.raises(CheckpointError, match=r"0\.0 GB free, the checkpoint takes 0\.0 GB; make room"):
        convert_to_hf(reward_nemo, tmp_path / "back")


@pytest.mark.parametrize("direction", ["to-hf", "from-hf"])
def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(
    direction: str, reward_hf: Path, reward_nemo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(shards.os, "fsync", no_space)  # torch's writer calls it too
    source = reward_nemo if direction == "to-hf" else reward_hf
    convert = convert_to_hf if direction == "to-hf" else convert_from_hf
    with pytest.raises(CheckpointError, match=r"out: cannot be written \(No space left on device\)"):
        convert(source, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(reward_nemo: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="exists already"):
        convert_to_hf(reward_nemo, tmp_path)


# Refusals


def damage(nemo: Path, kind: str) -> None:
    weights = nemo / layout.WEIGHTS
    (largest,) = weights.glob("__1_0.distcp")
    if kind == "file":
        largest.unlink()
    elif kind == "end":
        largest.write_bytes(largest.read_bytes()[:-1_000_000])
    elif kind == "middle":
        content = largest.read_bytes()
        largest.write_bytes(content[:4_000_000] + bytes(3_000_000) + content[7_000_000:])
    elif kind == "index":
        (weights / ".metadata").unlink()
    elif kind == "cut index":
        (weights / ".metadata").write_bytes((weights / ".metadata").read_bytes()[:-100])
    elif kind == "tokenizer":
        shutil.rmtree(nemo / layout.TOKENIZER)
    elif kind == "activation":
        edit_yaml(nemo, activation="squared-relu")
    elif kind == "layers":
        edit_yaml(nemo, num_layers=5)
    elif kind == "attributes":
        edit_yaml(nemo, head={"attributes": ["helpfulness"], "reward_weights": [1.0]})


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("file", "__1_0.distcp: not found; copy the checkpoint again"),
        ("end", r"__1_0.distcp: has \d+ bytes, the index needs \d+; copy the checkpoint again"),
        ("middle", "__1_0.distcp: model.decoder.* cannot be read from it"),
        ("index", r"\.metadata: not found; copy the checkpoint again, hidden files too"),
        ("cut index", r"\.metadata: not an index of torch_dist"),
        ("tokenizer", "tokenizer: not found; put the model's Hugging Face tokenizer there"),
        ("activation", "activation is 'squared-relu' in model_config.yaml; only Llamas convert: 'fast-swiglu'"),
        ("layers", r"layer_norm_weight has shape \(4, 256\); model_config.yaml asks for \(5, 256\)"),
        ("attributes", r"model.rm_head.weight has shape \(3, 256\); model_config.yaml asks for \(1, 256\)"),
    ],
)
def test_a_damaged_checkpoint_is_one_sentence(kind: str, sentence: str, nemo: Path, tmp_path: Path) -> None:
    damage(nemo, kind)
    with pytest.raises(CheckpointError, match=sentence):
        convert_to_hf(nemo, tmp_path / "back")
    assert not list(tmp_path.glob("back*"))


def test_a_missing_tensor_is_named(nemo: Path, tmp_path: Path) -> None:
    stored = StoredTensors(nemo / layout.WEIGHTS)
    tensors = {name: stored.read(name) for name in stored.entries if name != FC2}
    shutil.rmtree(nemo / layout.WEIGHTS)
    write_tensors(tensors, nemo / layout.WEIGHTS, 4)
    with pytest.raises(CheckpointError, match=f"tensor {FC2} is missing"):
        convert_to_hf(nemo, tmp_path / "back")


class Trap:
    """Pickles as a call that makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_an_index_that_would_run_code_is_refused(nemo: Path, tmp_path: Path) -> None:
    (nemo / layout.WEIGHTS / ".metadata").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(CheckpointError, match=r"not an index of torch_dist \(it names posix.mkdir, which no index nee"):
        convert_to_hf(nemo, tmp_path / "back")
    assert not (tmp_path / "sprung").exists()


def test_a_configuration_without_rope_figures_has_nemos() -> None:
    """As NeMo's own converter leaves it to mcore_model_customize."""
    config = {
        **{"normalization": "rmsnorm", "activation": "fast-swiglu", "position_embedding_type": "rope", "bias": False},
        **{"num_layers": 2, "hidden_size": 8, "ffn_hidden_size": 16, "num_attention_heads": 2, "vocab_size": 10},
        **{"layernorm_epsilon": 1e-5, "max_position_embeddings": 64, "scale_positional_embedding": True},
    }
    found = hugging_face_config(config, "here")
    assert found.rope_scaling == {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    assert (found.head_dim, found.num_key_value_heads, found.tie_word_embeddings) == (4, 2, True)


# The command


def test_command_converts_and_says_what(reward_nemo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["convert", "to-hf", str(reward_nemo), str(tmp_path / "back"), "--dtype", "bfloat16"]
    assert main(words) == 0
    assert f"{tmp_path / 'back'}: sequence-classification, 2.6M parameters, bfloat16" in capsys.readouterr().out
    assert main(words) == 2
    assert "exists already; name a new folder" in capsys.readouterr().err
