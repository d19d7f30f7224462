"""The supervised loop: one global batch a step, validation, best weights, resume states, early stop.

Every rank runs it, and what it decides on (losses, metrics, requests to stop) is the same on every rank.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from nemo_hs2pref.algorithms.early_stop import EarlyStop
from nemo_hs2pref.checkpoint.progress import Progress
from nemo_hs2pref.data.batches import Batch, MakeBatch
from nemo_hs2pref.errors import TrainingError
from nemo_hs2pref.metrics import Sums, summarise
from nemo_hs2pref.models.megatron_reward_model import MegatronRewardModel

Metrics = dict[str, float]
STOP = "stop"  # among the sums: for each reason, how many ranks know it


class Log(Protocol):
    """Where metrics go."""

    def train(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def validation(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def say(self, message: str) -> None: ...


class Keeper(Protocol):
    """Where checkpoints go."""

    def keep_if_best(self, progress: Progress, metrics: Mapping[str, float]) -> None: ...
    def save_resume_state(self, progress: Progress, metrics: Mapping[str, float]) -> None: ...


class Watch(Protocol):
    """Follows the run and may ask it to stop."""

    def flags(self) -> Mapping[str, bool]: ...  # reasons to stop that this rank knows; the same names on every rank
    def trained(self, step: int) -> None: ...
    def validating(self) -> None: ...
    def saving(self, step: int) -> AbstractContextManager[object]: ...


@dataclass(frozen=True)
class SupervisedRun:
    """Everything one run needs."""

    model: MegatronRewardModel
    optimizer: Any
    scheduler: Any
    slots: Sequence[str]  # [K] names of the head's outputs
    train_batches: Callable[[int], Sequence[Batch]]  # of optimizer step n, counted from 0
    validation_sets: Mapping[str, Sequence[MakeBatch]]  # name -> its global batches
    log: Log
    keeper: Keeper
    watch: Watch
    early_stop: EarlyStop | None
    num_steps: int
    items_per_step: int
    val_check_interval: int
    save_interval: int


def fit(run: SupervisedRun, progress: Progress) -> Sequence[str]:
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
            with run.watch.saving(progress.step):
                run.keeper.save_resume_state(progress, validation)
    if not stop and progress.step < run.num_steps:
        run.log.say(f"early stop after step {progress.step} of {run.num_steps}: {run.early_stop}")
    return stop


def take_step(run: SupervisedRun, progress: Progress) -> Sequence[str]:
    """One optimizer step; returns the reasons to stop after it."""
    started = time.monotonic()
    metrics, stop = train_step(run, progress.step)
    progress.step += 1
    progress.items += run.items_per_step
    progress.validation_due = progress.step == run.num_steps or due(progress.step, run.val_check_interval)
    metrics |= speed(metrics.pop("tokens"), time.monotonic() - started)
    run.log.train(progress.step, metrics)
    run.watch.trained(progress.step)
    return stop


def check_up(run: SupervisedRun, progress: Progress) -> tuple[Metrics, Sequence[str]]:
    """Validate, log, keep the best weights.

    Returns (metrics, ()), or ({}, reasons) if a rank asked to stop before validation was complete.
    """
    run.watch.validating()
    validation, stop = validate(run)
    if not stop:
        progress.validation_due = False
        run.log.validation(progress.step, validation)
        run.keeper.keep_if_best(progress, validation)
        if run.early_stop is not None:
            run.early_stop.note(progress, validation)
    return validation, stop


def is_finished(run: SupervisedRun, progress: Progress) -> bool:
    stopped = run.early_stop is not None and run.early_stop.is_reached(progress)
    return not progress.validation_due and (stopped or progress.step >= run.num_steps)


def due(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0


def speed(tokens: float, seconds: float) -> Metrics:
    """Tokens without padding, over all data-parallel ranks."""
    return {"tokens_per_s": tokens / seconds, "step_s": seconds}


def train_step(run: SupervisedRun, step: int) -> tuple[Metrics, Sequence[str]]:
    """Forward, backward, clip, update: one collective before backward and one after, which agrees on a stop too."""
    learning_rate = run.optimizer.param_groups[0]["lr"]
    batch, error = attempt(lambda: run.train_batches(step))
    counts = run.model.count_globally(batch, error)

    run.model.prepare_for_training_step()
    sums = run.model.forward_backward(batch, counts, forward_only=False)
    run.model.finish_training_step()

    totals, stop = agree(run, sums)
    metrics = metrics_of(run, totals, missing_as_zero=True)
    if not math.isfinite(metrics["loss"]):
        raise TrainingError(
            f"step {step + 1}: the loss is {metrics['loss']}; the weights are still those of step {step}"
        )
    grad_norm = float(run.optimizer.step()[1] or 0.0)
    if not math.isfinite(grad_norm):
        raise TrainingError(
            f"step {step + 1}: the gradient norm is {grad_norm}, and the weights are lost; start again with "
            "other settings, the run resumes from its last state"
        )
    run.scheduler.step()
    return {**metrics, "grad_norm": grad_norm, "lr": learning_rate, "tokens": counts["tokens"]}, stop


def agree(run: SupervisedRun, sums: Sums) -> tuple[Sums, Sequence[str]]:
    """The sums over all ranks, and the reasons to stop that any of them knows; one collective."""
    flags = run.watch.flags()
    totals = run.model.sum_globally({**sums, STOP: torch.tensor([*map(float, flags.values())])}, (STOP,))
    raised = totals.pop(STOP).tolist()
    return totals, [name for name, ranks in zip(flags, raised, strict=True) if ranks]


@torch.no_grad()
def validate(run: SupervisedRun) -> tuple[Metrics, Sequence[str]]:
    """Metrics of every validation set, the last partial batch included, as val_<set>_<metric>.

    One small collective per global batch, in which ranks agree on a stop, and one at the end for the sums. A stop
    leaves no metrics; its reasons are returned.
    """
    if not run.validation_sets:
        return {}, ()
    run.model.prepare_for_validation_step()
    sums, stop = sums_of_sets(run)
    run.model.finish_validation_step()
    if stop:
        return {}, stop
    totals = run.model.sum_globally(sums)
    metrics: Metrics = {}
    for name in run.validation_sets:
        of_set = {key.removeprefix(f"{name}/"): value for key, value in totals.items() if key.startswith(f"{name}/")}
        metrics |= {f"val_{name}_{key}": value for key, value in metrics_of(run, of_set).items()}
    return metrics, ()


def sums_of_sets(run: SupervisedRun) -> tuple[Sums, Sequence[str]]:
    """This rank's sums over all batches, as <set>/<name>; or none, and the reasons to stop."""
    totals: Sums = {}
    for name, batches in run.validation_sets.items():
        for make_batch in batches:
            sums = run.model.forward_backward(make_batch(), {}, forward_only=True)
            for key, value in sums.items():
                totals[f"{name}/{key}"] = value + totals.get(f"{name}/{key}", 0.0)
            _, stop = agree(run, {})
            if stop:
                return {}, stop
    return totals, ()


def metrics_of(run: SupervisedRun, totals: Sums, *, missing_as_zero: bool = False) -> Metrics:
    """The losses (see Objective.losses), and what was measured."""
    assert run.model.objective is not None
    return run.model.objective.losses(totals, missing_as_zero=missing_as_zero) | summarise(totals, run.slots)


def attempt(make_batch: Callable[[], Sequence[Batch]]) -> tuple[Sequence[Batch], Exception | None]:
    """The batch, or the error, which all ranks must hear of before any of them waits for another."""
    try:
        return make_batch(), None
    except Exception as error:
        return [], error
