"""ExPO refuses checkpoints that do not belong together, and names what differs. Small folders, no model."""

from pathlib import Path

import pytest
import torch

from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.distributed import one_process_group
from nemo_hs2pref.checkpoint.expo import extrapolate_checkpoints
from nemo_hs2pref.checkpoint.plain_tensors import load_tensors, write_tensors
from nemo_hs2pref.checkpoint.standardization import KEY
from nemo_hs2pref.cli import main
from nemo_hs2pref.errors import CheckpointError

WEIGHT, HEAD = "model.decoder.layers.mlp.linear_fc2.weight", "model.rm_head.weight"
CONFIG = {"num_layers": 2, "hidden_size": 4, "head": {"attributes": ["helpfulness"]}}


def checkpoint(folder: Path, tensors: dict[str, torch.Tensor], **config: object) -> Path:
    (folder / "tokenizer source").mkdir(parents=True)
    layout.write_small_files(folder, CONFIG | config, {}, folder / "tokenizer source")
    with one_process_group():
        write_tensors(tensors, folder / layout.WEIGHTS, num_layers=2)
    return folder


@pytest.fixture
def weak(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "weak", {WEIGHT: torch.ones(2, 4, 3), HEAD: torch.zeros(1, 4)})


def test_each_tensor_is_extrapolated(weak: Path, tmp_path: Path) -> None:
    strong = checkpoint(tmp_path / "strong", {WEIGHT: torch.full((2, 4, 3), 3.0), HEAD: torch.full((1, 4), -2.0)})
    assert extrapolate_checkpoints(weak, strong, 1.5, tmp_path / "expo") == 2
    found = load_tensors(tmp_path / "expo" / layout.WEIGHTS, [WEIGHT, HEAD])
    torch.testing.assert_close(found[WEIGHT], torch.full((2, 4, 3), 1.0 + 1.5 * 2.0))
    torch.testing.assert_close(found[HEAD], torch.full((1, 4), 1.5 * -2.0))
    assert layout.read_manifest(tmp_path / "expo")["extrapolated"]["alpha"] == 1.5


def test_the_parents_mean_and_std_are_not_inherited(weak: Path, tmp_path: Path) -> None:
    """Other weights give other rewards."""
    layout.write_manifest(weak, {KEY: {"reward": {"mean": 1.0, "std": 2.0}}})
    config = weak / layout.CONFIG
    config.write_text(config.read_text() + "reward_standardization: {enable: true, mean: 1.0, std: 2.0}\n")
    extrapolate_checkpoints(weak, weak, 1.5, tmp_path / "expo")
    assert layout.read_manifest(tmp_path / "expo").keys() == {"tool_version", "extrapolated"}
    assert "reward_standardization" not in (tmp_path / "expo" / layout.CONFIG).read_text()


def test_a_tensor_of_another_shape_is_named(weak: Path, tmp_path: Path) -> None:
    strong = checkpoint(tmp_path / "strong", {WEIGHT: torch.ones(2, 4, 5), HEAD: torch.zeros(1, 4)})
    with pytest.raises(
        CheckpointError, match=r"linear_fc2.weight differs: torch.float32 \[2, 4, 3\] in .*weak, .*\[2, 4, 5\]"
    ):
        extrapolate_checkpoints(weak, strong, 1.5, tmp_path / "expo")
    assert not (tmp_path / "expo").exists()


def test_a_missing_tensor_is_named(weak: Path, tmp_path: Path) -> None:
    strong = checkpoint(tmp_path / "strong", {WEIGHT: torch.ones(2, 4, 3)})
    with pytest.raises(CheckpointError, match=r"model.rm_head.weight differs: .* nothing in .*strong"):
        extrapolate_checkpoints(weak, strong, 1.5, tmp_path / "expo")


def test_equal_shapes_with_another_meaning_are_refused(weak: Path, tmp_path: Path) -> None:
    tensors = {WEIGHT: torch.ones(2, 4, 3), HEAD: torch.zeros(1, 4)}
    strong = checkpoint(tmp_path / "strong", tensors, head={"attributes": ["quality"]})
    with pytest.raises(CheckpointError, match=r"head is .*helpfulness.* and .*quality"):
        extrapolate_checkpoints(weak, strong, 1.5, tmp_path / "expo")


def test_the_command_ends_with_one_sentence(weak: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["extrapolate", "--weak", str(weak), "--strong", str(tmp_path / "no"), "--out", str(tmp_path / "c")]) == 2
    )
    assert f"{tmp_path / 'no'}: no checkpoint" in capsys.readouterr().err


def test_an_existing_folder_is_not_overwritten(weak: Path) -> None:
    with pytest.raises(CheckpointError, match="exists already"):
        extrapolate_checkpoints(weak, weak, 1.5, weak)


def test_an_incomplete_checkpoint_is_recognised(weak: Path) -> None:
    (weak / layout.WEIGHTS / "metadata.json").unlink()
    with pytest.raises(CheckpointError, match="incomplete"):
        layout.read_config(weak)
