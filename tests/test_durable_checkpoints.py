"""A node that crashes while a checkpoint is saved leaves one that is whole: on the disk before it takes its name."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.runtime.checkpoint_files import list_files, replace, writer_of

STATE = (
    *("hs2pref.json", "model_config.yaml", "tokenizer/tokenizer.json"),
    *("model_weights/__0_0.distcp", "model_weights/common.pt", "model_weights/metadata.json"),
    *("training_state/common.pt", "training_state/metadata.json", "training_state/random_rank0.pt"),
)
FOLDERS = ("", "model_weights", "tokenizer", "training_state")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A group of one rank."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """What is synced, renamed and removed, in order."""
    made: list[tuple[str, Path]] = []
    fsync, rename, rmtree = os.fsync, Path.rename, shutil.rmtree

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        made.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))

    def noted_rename(self: Path, target: Path) -> Path:
        made.append(("rename", target))
        return rename(self, target)

    def noted_rmtree(path: Path, ignore_errors: bool = False) -> None:
        if path.exists():
            made.append(("remove", path))
        rmtree(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    monkeypatch.setattr(shutil, "rmtree", noted_rmtree)
    return made


def write(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


@pytest.mark.usefixtures("alone")
def test_the_old_resume_state_goes_when_the_new_one_is_on_the_disk(
    tmp_path: Path, calls: list[tuple[str, Path]]
) -> None:
    new, last = tmp_path / "last.incomplete", tmp_path / "last"
    write(new, *STATE)
    write(last, "of an earlier step")
    list_files(new)
    replace(new, last)
    first = calls.index(("rename", tmp_path / "last.old"))
    assert {path for what, path in calls[:first] if what == "sync"} == {
        new / name for name in (*STATE, "hs2pref.files.json", *FOLDERS)
    }
    assert calls[first + 1 :] == [("rename", last), ("sync", tmp_path), ("remove", tmp_path / "last.old")]
    assert (last / "hs2pref.json").exists()


def test_every_file_is_synced_by_the_rank_that_wrote_it() -> None:
    """Another machine's cache is out of reach."""
    names = ("__3_0.distcp", "random_rank12.pt", "common.pt", ".metadata", "metadata.json", "hs2pref.json")
    assert [writer_of(Path(name)) for name in names] == [3, 12, 0, 0, 0, 0]


def test_a_converted_checkpoint_is_on_the_disk_before_it_takes_its_name(
    tmp_path: Path, calls: list[tuple[str, Path]]
) -> None:
    with layout.written_whole(tmp_path / "out") as folder:
        write(folder, "config.json", "model.safetensors", "tokenizer/tokenizer.json")
    assert calls[-1] == ("rename", tmp_path / "out")
    written = ("config.json", "model.safetensors", "tokenizer/tokenizer.json", "hs2pref.files.json", "", "tokenizer")
    assert {path for what, path in calls if what == "sync"} == {folder / name for name in written}
