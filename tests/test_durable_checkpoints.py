"""A node that crashes while a checkpoint is saved leaves one that is whole, and a run goes on from no other.

It is on the disk before it takes its name, and every byte is what it was before it is used.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.saved_run import read_saved_run
from nemo_hs2pref.config.resume import refuse_other_rows
from nemo_hs2pref.errors import CheckpointError, ConfigError
from nemo_hs2pref.files import replace_folder
from nemo_hs2pref.runtime.run.checkpoint_files import list_files, refuse_altered, writer_of

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
    replace_folder(new, last, last.with_name("last.old"))
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


# --- going on from it ---


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """The resume state of step 40."""
    return saved(tmp_path / "checkpoints" / "last", 40)


def saved(folder: Path, step: int) -> Path:
    write(folder, *STATE)
    (folder / "hs2pref.json").write_text(json.dumps({"step": step, "run": {"model": {"seed": 1}}, "read": {}}))
    list_files(folder)
    return folder


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


NOTHING = "put a copy of it there, or start the run anew: exp_manager.resume_if_exists=false; there is no earlier one"


@pytest.mark.usefixtures("alone")
def test_a_resume_state_that_is_as_it_was_saved_says_so(last: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        refuse_altered(last)
    assert f"{last} is as it was saved: {len(STATE)} files, " in caplog.text
    assert layout.resume_path(last.parent) == last
    assert read_saved_run(last).step == 40


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("name", STATE)
def test_one_bit_of_any_file_is_found(last: Path, name: str) -> None:
    flip_a_bit(last / name)
    with pytest.raises(CheckpointError) as refusal:
        refuse_altered(last)
    assert str(refusal.value).startswith(f"{last}/{name}: SHA-256 is ")
    assert str(refusal.value).endswith(f"... when it was saved; {NOTHING}")


@pytest.mark.usefixtures("alone")
def test_what_is_missing_or_cut_is_named(last: Path) -> None:
    (last / "training_state" / "random_rank0.pt").unlink()
    (last / "training_state" / "metadata.json").write_text("")
    with pytest.raises(CheckpointError) as refusal:
        refuse_altered(last)
    assert str(refusal.value) == (
        f"{last}/training_state/metadata.json: has 0 bytes, was saved with 28 (and 1 more); {NOTHING}"
    )
    (last / "hs2pref.files.json").unlink()
    with pytest.raises(CheckpointError, match=r"hs2pref\.files\.json: not found, .* whether the rest is whole; "):
        refuse_altered(last)
    assert layout.resume_path(last.parent) == last  # and no run begins anew over it


@pytest.mark.usefixtures("alone")
def test_an_earlier_checkpoint_that_is_whole_is_named(last: Path) -> None:
    (last / "hs2pref.json").write_text('{"step": "40"}')
    for step in (10, 20, 30):
        saved(last.with_name(f"step_{step:06d}"), step)
    (last.with_name("step_000030") / "model_weights" / "__0_0.distcp").write_text("cut")
    with pytest.raises(CheckpointError) as refusal:
        read_saved_run(last)
    assert str(refusal.value) == (
        f"{last}/hs2pref.json: the document has no 'run'; put a copy of it there, or start another run from "
        f"the weights of step 20: pretrained_checkpoint.restore_from_path={last.parent}/step_000020"
    )
    before = saved(last.with_name("last.old"), 35)
    with pytest.raises(CheckpointError) as refusal:
        refuse_altered(last)
    way_on = f"; move {last} away and start again: the run goes on from {before}, after step 35"
    assert str(refusal.value).endswith(way_on)
    last.rename(last.with_name("away"))
    found = layout.resume_path(last.parent)
    assert found == before
    refuse_altered(before)


def test_rows_that_have_changed_are_named() -> None:
    before = {"pairs.train.jsonl": "ab" * 32, "pairs.validation.jsonl": "cd" * 32}
    refuse_other_rows("runs/a", before, dict(before))
    for given, said in (
        ({**before, "pairs.train.jsonl": "ef" * 32}, r"^pairs\.train\.jsonl is not .* \(SHA-256 efef.*, it was abab"),
        (
            {**before, "ratings.validation.jsonl": "ef" * 32},
            r"^ratings.* \(SHA-256 efef.*, it was not there\)",
        ),
        ({"pairs.train.jsonl": "ab" * 32}, r"^pairs\.validation.* \(SHA-256 not there, it was cdcdcdcdcdcd...\)"),
    ):
        with pytest.raises(ConfigError, match=said):
            refuse_other_rows("runs/a", before, given)
