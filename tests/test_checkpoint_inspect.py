"""`hs2pref checkpoint inspect`: what a checkpoint says of itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_dist_files import write_tensors

from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.checkpoint.small_models.tiny import write_llama_tiny
from nemo_hs2pref.cli import main

HEAD = {"attributes": ["helpfulness", "verbosity"], "reward_weights": [1.0, -0.5], "bias": False, "template": "nemo"}
RUN = {"loss": {"name": "scaled_bt"}, "data": {"dir": "data"}, "pretrained_checkpoint": {"restore_from_path": "stage1"}}
MANIFEST = {
    "tool_version": "1.2",
    "step": 42,
    "items": 672,
    "metrics": {"val_loss": 0.5},
    "run": RUN,
    "data": {"pairs.train.jsonl": "ab12"},
    "standardization": {
        "rows": 10,
        "input": {"name": "rows.jsonl"},
        "reward": {"mean": 1.0, "std": 2.0},
        "attributes": {},
    },
}


def checkpoint(folder: Path, **config: object) -> Path:
    (folder / "source").mkdir(parents=True)
    sizes = {"num_layers": 2, "hidden_size": 4, "tensor_model_parallel_size": 8, "pipeline_model_parallel_size": 4}
    layout.write_small_files(folder, sizes | {"head": HEAD} | config, MANIFEST, folder / "source")
    tensors = {
        "model.decoder.layers.mlp.linear_fc2.weight": torch.zeros(2, 4, 3).bfloat16(),
        "model.rm_head.weight": torch.zeros(2, 4),
    }
    write_tensors(tensors, folder / layout.WEIGHTS, num_layers=2)
    return folder


def inspected(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["checkpoint", "inspect", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_runs_checkpoint_tells_where_it_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspected(checkpoint(tmp_path / "last"), capsys) == {
        "path": str(tmp_path / "last"),
        "kind": "NeMo checkpoint",
        "architecture": {"layers": 2, "hidden_size": 4},
        "parameters": 32,
        "dtypes": {"bfloat16": 24, "float32": 8},
        "weight_bytes": 24 * 2 + 8 * 4,
        "parallel": {"tensor_parallel": 8, "pipeline_parallel": 4},
        "training": {
            "step": 42,
            "items": 672,
            "metrics": {"val_loss": 0.5},
            "loss": "scaled_bt",
            "started_from": "stage1",
            "can_resume": False,
        },
        "head": HEAD,
        "data": {"dir": "data", "files": {"pairs.train.jsonl": "ab12"}},
        "standardization": MANIFEST["standardization"],
        "origin": {"tool_version": "1.2"},
        "hashes_listed": False,
    }


def test_adapters_tell_their_rank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peft = {"peft_scheme": "lora", "lora_tuning": {"adapter_dim": 32, "alpha": 16.0}}
    found = inspected(checkpoint(tmp_path / "last", peft=peft), capsys)
    assert found["kind"] == "LoRA adapters"
    assert (found["adapters"]["rank"], found["adapters"]["alpha"]) == (32, 16.0)


def test_both_sides_of_a_conversion_are_the_same_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert_from_hf(write_llama_tiny(tmp_path / "hf"), tmp_path / "nemo")
    convert_to_hf(tmp_path / "nemo", tmp_path / "back")
    sides = {name: inspected(tmp_path / name, capsys) for name in ("hf", "nemo", "back")}
    assert {name: side["kind"] for name, side in sides.items()} == {
        "hf": "Hugging Face folder",
        "nemo": "NeMo checkpoint",
        "back": "Hugging Face folder",
    }
    architectures = [side["architecture"] | {"class": None} for side in sides.values()]
    assert architectures[0] == architectures[1] == architectures[2]
    assert sides["back"]["parameters"] == sides["hf"]["parameters"]
    assert sides["nemo"]["parameters"] == sides["hf"]["parameters"] + 2 * (1024 - 1003) * 256, "padded vocabulary"
    assert sides["nemo"]["hashes_listed"] and sides["back"]["hashes_listed"] and not sides["hf"]["hashes_listed"]


def test_facts_are_printed_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "inspect", str(checkpoint(tmp_path / "last"))]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "kind: NeMo checkpoint" in printed
    assert "  loss: scaled_bt" in printed
    assert "    val_loss: 0.5" in printed
