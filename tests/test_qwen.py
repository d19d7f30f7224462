"""Qwen2.5, a Llama with biases on queries, keys and values: converted both ways, verified, extrapolated, planned."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, Qwen2Config, Qwen2ForSequenceClassification

from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.checkpoint.layout import read_yaml
from nemo_hs2pref.checkpoint.small_models.tiny import QWEN, SIZES, with_tokenizer, write_qwen_tiny
from nemo_hs2pref.cli import main
from nemo_hs2pref.errors import CheckpointError


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen_tiny(tmp_path_factory.mktemp("qwen") / "hf")


@pytest.fixture(scope="module")
def nemo(qwen: Path) -> Path:
    convert_from_hf(qwen, qwen.parent / "nemo")
    return qwen.parent / "nemo"


def test_both_ways_give_every_tensor_bit_by_bit(qwen: Path, nemo: Path, tmp_path: Path) -> None:
    convert_to_hf(nemo, tmp_path / "back")
    before, after = (load_file(folder / "model.safetensors") for folder in (qwen, tmp_path / "back"))
    assert before.keys() == after.keys() and any(name.endswith("q_proj.bias") for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_nemo_is_told_of_the_biases(nemo: Path) -> None:
    config = read_yaml(nemo / "model_config.yaml")
    assert (config["qkv_bias"], config["bias"], config["layernorm_epsilon"]) == (True, False, 1e-6)


def test_a_checkpoint_is_verified_by_its_shapes(nemo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoint", "verify", str(nemo)]) == 0
    assert "not compared" not in capsys.readouterr().out


def test_a_missing_bias_is_named(nemo: Path, tmp_path: Path) -> None:
    """A Llama's weights under a Qwen's configuration."""
    from nemo_hs2pref.checkpoint.small_models.tiny import write_llama_tiny

    convert_from_hf(write_llama_tiny(tmp_path / "llama"), tmp_path / "nemo")
    config = tmp_path / "nemo" / "model_config.yaml"
    config.write_text(config.read_text() + "qkv_bias: true\n")
    with pytest.raises(CheckpointError, match=r"linear_qkv\.bias is missing"):
        convert_to_hf(tmp_path / "nemo", tmp_path / "back")


def test_a_classifier_keeps_its_rewards(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = Qwen2Config(**SIZES, **QWEN, num_labels=1, pad_token_id=0, hs2pref={"template": "extra_id"})
    model = Qwen2ForSequenceClassification(config)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter)
    with_tokenizer(model, tmp_path / "hf")
    convert_from_hf(tmp_path / "hf", tmp_path / "nemo")
    convert_to_hf(tmp_path / "nemo", tmp_path / "back")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "back")
    assert type(again).__name__ == "Qwen2ForSequenceClassification"
    assert all(torch.equal(*both) for both in zip(model.parameters(), again.parameters(), strict=True))


def test_models_are_averaged_with_their_biases(nemo: Path, tmp_path: Path) -> None:
    assert main(["extrapolate", "--average", str(nemo), str(nemo), "--out", str(tmp_path / "out")]) == 0
    convert_to_hf(tmp_path / "out", tmp_path / "hf")
    assert any(name.endswith(".bias") for name in load_file(tmp_path / "hf" / "model.safetensors"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"use_sliding_window": True, "sliding_window": 64}, "use_sliding_window"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "of Qwen2 only none converts"),
    ],
)
def test_what_nemo_would_compute_otherwise_is_refused(change: dict, told: str, qwen: Path, tmp_path: Path) -> None:
    import json
    import shutil

    shutil.copytree(qwen, tmp_path / "hf")
    file = tmp_path / "hf" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=told):
        convert_from_hf(tmp_path / "hf", tmp_path / "nemo")


@pytest.mark.parametrize(("model", "billions"), [("qwen25_7b", 7.07), ("qwen25_32b", 31.98), ("qwen25_72b", 71.46)])
def test_published_sizes_are_planned(model: str, billions: float, capsys: pytest.CaptureFixture[str]) -> None:
    """Parameters of the published models, 7.62, 32.76 and 72.71 billion, without the output layer."""
    main(["plan", f"model={model}", "--json"])
    import json

    assert json.loads(capsys.readouterr().out)["parameters"]["total"] / 1e9 == pytest.approx(billions, abs=0.01)
