"""When a run ends early."""

import pytest

from nemo_hs2pref.algorithms.early_stop import EarlyStop
from nemo_hs2pref.checkpoint.train_state import TrainState


def validations_until_the_end(stop: EarlyStop, values: list[float]) -> int | None:
    progress = TrainState()
    for number, value in enumerate(values, start=1):
        stop.note(progress, {"val_pairs_accuracy": value})
        if stop.is_reached(progress):
            return number
    return None


@pytest.mark.parametrize(
    ("mode", "patience", "min_delta", "values", "end"),
    [
        ("max", 2, 0.0, [0.5, 0.6, 0.6, 0.6], 4),  # equal is no better
        ("max", 2, 0.0, [0.5, 0.4, 0.6, 0.5, 0.5], 5),  # a new best one starts the count again
        ("max", 1, 0.1, [0.5, 0.55, 0.9], 2),  # better, but not by min_delta
        ("min", 2, 0.0, [0.9, 0.8, 0.7, 0.6], None),
        ("min", 1, 0.0, [0.9, 0.95], 2),
    ],
)
def test_a_run_ends_after_patience_validations_that_were_no_better(
    mode: str, patience: int, min_delta: float, values: list[float], end: int | None
) -> None:
    stop = EarlyStop("val_pairs_accuracy", mode, patience, min_delta)
    assert validations_until_the_end(stop, values) == end


def test_a_run_that_has_ended_goes_on_with_more_patience() -> None:
    progress = TrainState(early_stop_best=0.6, early_stop_waited=2)
    assert EarlyStop("val_pairs_accuracy", "max", 2, 0.0).is_reached(progress)
    assert not EarlyStop("val_pairs_accuracy", "max", 3, 0.0).is_reached(progress)
