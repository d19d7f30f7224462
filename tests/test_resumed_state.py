"""Parts of a training state that are damaged, or of other types, are one sentence; no NeMo is needed to see it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from nemo_hs2pref.checkpoint.resumed_state import fitting, progress_in, read_random_state
from nemo_hs2pref.checkpoint.train_state import TrainState
from nemo_hs2pref.errors import CheckpointError

RANDOM = {"cpu": torch.get_rng_state(), "cuda": torch.get_rng_state(), "tracker": {"a": torch.get_rng_state()}}
STATE: dict[str, Any] = {"optimizer": {}, "scheduler": {}, "layout": {}, "progress": asdict(TrainState(3, 12))}


def test_sound_random_state_is_read_as_it_was_saved(tmp_path: Path) -> None:
    torch.save(RANDOM, tmp_path / "random_rank0.pt")
    assert read_random_state(tmp_path / "random_rank0.pt")["cpu"].equal(RANDOM["cpu"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1], "no random state"),
        (RANDOM | {"tracker": [1]}, "no random state"),
        (RANDOM | {"cuda": None}, "its parts are not bytes"),
        (RANDOM | {"cpu": torch.zeros(5056)}, "its parts are not bytes"),
        (RANDOM | {"tracker": {"a": "text"}}, "its parts are not bytes"),
        (b"", "holds more than numbers and text"),
        (None, "not found"),
    ],
)
def test_random_state_of_another_kind_is_one_sentence(tmp_path: Path, content: Any, told: str) -> None:
    file = tmp_path / "random_rank0.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(CheckpointError, match=rf"^{file}: .*{told}"):
        read_random_state(file)


@pytest.mark.parametrize("size", [0, 1, 100, 800])
def test_cut_random_state_is_one_sentence(tmp_path: Path, size: int) -> None:
    file = tmp_path / "random_rank0.pt"
    torch.save(RANDOM, file)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=rf"^{file}: "):
        read_random_state(file)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"progress": [1]}, "progress: the document is a list, expected an object"),
        ({"progress": STATE["progress"] | {"step": "3"}}, "progress: 'step' is '3', expected a whole number"),
        ({"progress": STATE["progress"] | {"best": {}}}, "progress: 'best' is an object, expected a list"),
    ],
)
def test_counters_of_other_types_are_one_sentence(change: dict[str, Any], told: str) -> None:
    assert progress_in(STATE, Path("common.pt")) == TrainState(3, 12)
    unknown = asdict(TrainState(3, early_stop_best=float("inf")))
    assert progress_in(STATE | {"progress": unknown}, Path("common.pt")).early_stop_best == float("inf")
    with pytest.raises(CheckpointError, match=rf"^common.pt: {told}$"):
        progress_in(STATE | change, Path("common.pt"))


@pytest.mark.parametrize("part", STATE)
def test_missing_part_is_named(part: str) -> None:
    state = {name: value for name, value in STATE.items() if name != part}
    with pytest.raises(CheckpointError, match=rf"^common.pt: has no '{part}'"):
        progress_in(state, Path("common.pt"))


def test_generator_that_refuses_its_state_is_one_sentence() -> None:
    with pytest.raises(CheckpointError, match=r"^random_rank0.pt: .*RuntimeError"), fitting(Path("random_rank0.pt")):
        torch.set_rng_state(torch.zeros(3, dtype=torch.uint8))
