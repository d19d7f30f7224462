"""What a resumed run takes from its checkpoint besides tensors, checked before it is used."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nemo_hs2pref.checkpoint.torch_dist.index import load_plain
from nemo_hs2pref.checkpoint.train_state import TrainState
from nemo_hs2pref.decode import from_plain
from nemo_hs2pref.errors import CheckpointError

PARTS = ("optimizer", "scheduler", "progress", "layout")


def progress_in(state: Mapping[str, Any], file: Path) -> TrainState:
    """The counters in what `file` and the tensors beside it hold; CheckpointError where a part is not there."""
    if missing := [part for part in PARTS if part not in state]:
        raise CheckpointError(f"{file}: has no {missing[0]!r}; copy the checkpoint again")
    given, where = state["progress"], f"{file}: progress"
    best = given.get("early_stop_best") if isinstance(given, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(best, float):
        return from_plain(TrainState, given, where, CheckpointError)
    # a validation may have given no number, which JSON's readers refuse and early stopping has lived with
    return replace(
        from_plain(TrainState, {**given, "early_stop_best": None}, where, CheckpointError), early_stop_best=best
    )


def read_random_state(file: Path) -> dict[str, Any]:
    """One rank's: the generators of the processor and of the GPU, and those that megatron-core names."""
    state = load_plain(file)
    if not isinstance(state, dict) or not isinstance(tracker := state.get("tracker"), dict):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        raise CheckpointError(f"{file}: no random state; copy the checkpoint again")
    numbers: list[Any] = [state.get("cpu"), state.get("cuda"), *tracker.values()]  # pyright: ignore[reportUnknownMemberType]
    if not all(isinstance(each, torch.Tensor) and each.dtype == torch.uint8 for each in numbers):
        raise CheckpointError(f"{file}: no random state (its parts are not bytes); copy the checkpoint again")
    return state  # pyright: ignore[reportUnknownVariableType]


@contextmanager
def fitting(file: Path) -> Iterator[None]:
    """CheckpointError where a part of `file` is of another kind than who takes it expects."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # the optimizer, the schedule and the generators raise whatever they meet
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise CheckpointError(f"{file}: holds something else than a run's state ({reason}); copy it again") from error
