"""The supervised loop: one global batch a step, validation, best weights, resume states, early stop.

Every rank runs it, and what it decides on (losses, metrics, requests to stop) is the same on every rank.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from nemo_hs2pref.algorithms.agreement import Metrics
from nemo_hs2pref.algorithms.early_stop import EarlyStop
from nemo_hs2pref.algorithms.step import refuse_broken_weights, train_step
from nemo_hs2pref.algorithms.validation import ValidationSets, validate
from nemo_hs2pref.checkpoint.train_state import TrainState
from nemo_hs2pref.data.batches.tokens import MicroBatch
from nemo_hs2pref.models.trainable import Trainable
from nemo_hs2pref.objectives.interface import Objective


class Log(Protocol):
    """Where metrics go."""

    def train(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def validation(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def say(self, message: str) -> None: ...


class Checkpoints(Protocol):
    """Where checkpoints go."""

    def keep_if_best(self, progress: TrainState, metrics: Mapping[str, float]) -> None: ...
    def save_resume_state(self, progress: TrainState, metrics: Mapping[str, float]) -> None: ...


class Monitor(Protocol):
    """Follows the run and may ask it to stop."""

    def flags(self) -> Mapping[str, bool]: ...  # see agreement.Flags
    def trained(self, step: int) -> None: ...
    def validating(self) -> None: ...
    def saving(self, step: int) -> AbstractContextManager[object]: ...


@dataclass(frozen=True)
class SupervisedRun:
    """Everything one run needs."""

    trainable: Trainable
    objective: Objective
    train_batches: Callable[[int], Sequence[MicroBatch]]  # of optimizer step n, counted from 0
    validation_sets: ValidationSets
    log: Log
    checkpoints: Checkpoints
    monitor: Monitor
    early_stop: EarlyStop | None
    num_steps: int
    items_per_step: int
    val_check_interval: int
    save_interval: int


def fit(run: SupervisedRun, progress: TrainState) -> Sequence[str]:
    """Train from `progress` to the last step, or until early stop or a rank's request ends it; saves at the end.

    Returns the reasons for the stop; none if the run is finished. A stop request takes effect after the current step.
    A validation due then is skipped; the resumed run does it first (`progress.validation_due`).
    """
    validation: Metrics = {}
    stop: Sequence[str] = ()
    while not (stop or is_finished(run, progress)):
        if not progress.validation_due:
            stop = take_step(run, progress)
        if progress.validation_due and not stop:
            validation, stop = check_up(run, progress)
        if stop or is_finished(run, progress) or due(progress.step, run.save_interval):
            refuse_broken_weights(run.trainable.model, f"step {progress.step}:", progress.step)
            with run.monitor.saving(progress.step):
                run.checkpoints.save_resume_state(progress, validation)
    if not stop and progress.step < run.num_steps:
        run.log.say(f"early stop after step {progress.step} of {run.num_steps}: {run.early_stop}")
    return stop


def take_step(run: SupervisedRun, progress: TrainState) -> Sequence[str]:
    """One optimizer step; returns the reasons to stop after it."""
    started = time.monotonic()
    metrics, stop = train_step(
        run.trainable, run.objective, lambda: run.train_batches(progress.step), progress.step, run.monitor.flags
    )
    progress.step += 1
    progress.items += run.items_per_step
    progress.validation_due = progress.step == run.num_steps or due(progress.step, run.val_check_interval)
    metrics |= speed(metrics.pop("tokens"), time.monotonic() - started)
    run.log.train(progress.step, metrics)
    run.monitor.trained(progress.step)
    return stop


def check_up(run: SupervisedRun, progress: TrainState) -> tuple[Metrics, Sequence[str]]:
    """Validate, log, keep the best weights.

    Returns (metrics, ()), or ({}, reasons) if a rank asked to stop before validation was complete.
    """
    run.monitor.validating()
    refuse_broken_weights(run.trainable.model, f"step {progress.step}:", progress.step)  # nor kept as the best ones
    validation, stop = validate(run.trainable.model, run.objective, run.validation_sets, run.monitor.flags)
    if not stop:
        progress.validation_due = False
        run.log.validation(progress.step, validation)
        run.checkpoints.keep_if_best(progress, validation)
        if run.early_stop is not None:
            run.early_stop.note(progress, validation)
    return validation, stop


def is_finished(run: SupervisedRun, progress: TrainState) -> bool:
    stopped = run.early_stop is not None and run.early_stop.is_reached(progress)
    return not progress.validation_due and (stopped or progress.step >= run.num_steps)


def due(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0


def speed(tokens: float, seconds: float) -> Metrics:
    """Tokens without padding, over all data-parallel ranks."""
    return {"tokens_per_s": tokens / seconds, "step_s": seconds}
