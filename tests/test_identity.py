"""Which model a checkpoint is, whatever its folder is called and whatever lies beside it."""

import json
import shutil
from pathlib import Path

import pytest
from families import edit_json

from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.checkpoint.identity import SAMPLE_BYTES, SAMPLES, are_same, identity_of
from nemo_hs2pref.checkpoint.layout import HF_KEY, STANDARDIZATION
from nemo_hs2pref.errors import CheckpointError


def of(path: Path) -> str:
    return identity_of(path)["weights"]


def write(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A checkpoint whose weights are larger than what is read of them."""
    content = bytes(range(256)) * (2 * SAMPLES * SAMPLE_BYTES // 256)
    write(tmp_path / "last" / "hs2pref.json", b'{"step": 400}')
    return write(tmp_path / "last" / "model_weights" / "__0_0.distcp", content).parents[1]


def test_a_copy_is_the_same_model_and_what_lies_beside_it_does_not_count(large, tmp_path):
    before = identity_of(large)
    copy = shutil.copytree(large, tmp_path / "copy")
    write(copy / "training_state" / "a.distcp", b"state")
    write(copy / "evaluation" / "summary.json", b"{}")
    assert identity_of(copy) == before and before["step"] == 400
    archive = write(tmp_path / "a.nemo", b"weights")
    assert identity_of(archive) == identity_of(archive.rename(tmp_path / "b.nemo"))


@pytest.mark.parametrize("place", [0, -1, SAMPLE_BYTES // 2])
def test_other_weights_are_another_model(large, place):
    before, file = of(large), large / "model_weights" / "__0_0.distcp"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert of(large) != before
    file.write_bytes(file.read_bytes() + b"\0")
    assert of(large) != before


def test_where_the_weights_are_not_there_the_step_decides(large, tmp_path):
    manifest = write(tmp_path / "small" / "hs2pref.json", b'{"step": 400}')
    assert are_same(identity_of(manifest.parent), identity_of(large))
    manifest.write_text('{"step": 200}')
    assert not are_same(identity_of(manifest.parent), identity_of(large))
    assert not are_same({"step": None, "weights": ""}, {"step": None, "weights": ""})


def test_an_export_is_its_checkpoint_until_it_is_trained(nemo, tmp_path):
    edit_json(nemo / "hs2pref.json", step=317)
    convert_to_hf(nemo, tmp_path / "hf")
    assert identity_of(tmp_path / "hf") == identity_of(nemo)
    ours = json.loads((tmp_path / "hf" / "config.json").read_text())[HF_KEY]
    measured = {HF_KEY: ours | {STANDARDIZATION: {"rows": 3}}, "mean": 1.0, "std": 2.0}
    edit_json(tmp_path / "hf" / "config.json", **measured)
    assert identity_of(tmp_path / "hf") == identity_of(nemo)
    weights = tmp_path / "hf" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert of(tmp_path / "hf") not in ("", of(nemo)) and identity_of(tmp_path / "hf")["step"] is None


def test_a_broken_configuration_is_one_sentence(tmp_path):
    write(tmp_path / "config.json", b"[1]")
    with pytest.raises(CheckpointError, match="not a JSON object \\(but a list\\)"):
        identity_of(tmp_path)
