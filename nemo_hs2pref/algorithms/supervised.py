"""The supervised loop: one global batch a step, validation, best weights, resume states.

Every rank runs it; what it decides on (losses, metrics) is the same number on every rank.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from nemo_hs2pref.checkpoint.training_state import Progress
from nemo_hs2pref.errors import TrainingError
from nemo_hs2pref.metrics import summarise
from nemo_hs2pref.models.megatron_reward_model import Batch, MegatronRewardModel

Metrics = dict[str, float]


class Log(Protocol):
    """Where metrics go."""

    def train(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def validation(self, step: int, metrics: Mapping[str, float]) -> None: ...


class Keeper(Protocol):
    """Where checkpoints go."""

    def keep_if_best(self, progress: Progress, metrics: Mapping[str, float]) -> None: ...
    def save_resume_state(self, progress: Progress, metrics: Mapping[str, float]) -> None: ...


@dataclass(frozen=True)
class SupervisedRun:
    """Everything one run needs. `*_batches` give this data-parallel rank's micro batches."""

    model: MegatronRewardModel
    optimizer: Any
    scheduler: Any
    train_batches: Callable[[int], Sequence[Batch]]  # of optimizer step n, counted from 0
    validation_batches: Sequence[Callable[[], Sequence[Batch]]]  # one call a global batch
    log: Log
    keeper: Keeper
    num_steps: int
    items_per_step: int
    val_check_interval: int
    save_interval: int


def fit(run: SupervisedRun, progress: Progress) -> None:
    """Train from `progress` to the last step; returns with the resume state saved."""
    validation: Metrics = {}
    while progress.step < run.num_steps:
        started = time.monotonic()
        metrics = train_step(run, progress.step)
        progress.step += 1
        progress.items += run.items_per_step
        metrics |= speed(metrics.pop("tokens"), time.monotonic() - started)
        run.log.train(progress.step, metrics)

        last = progress.step == run.num_steps
        if last or due(progress.step, run.val_check_interval):
            validation = validate(run)
            run.log.validation(progress.step, validation)
            run.keeper.keep_if_best(progress, validation)
        if last or due(progress.step, run.save_interval):
            run.keeper.save_resume_state(progress, validation)


def due(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0


def speed(tokens: float, seconds: float) -> Metrics:
    """Tokens without padding, over all data-parallel ranks."""
    return {"tokens_per_s": tokens / seconds, "step_s": seconds}


def train_step(run: SupervisedRun, step: int) -> Metrics:
    """Forward, backward, clip, update: one collective before backward and one after."""
    learning_rate = run.optimizer.param_groups[0]["lr"]
    batch, error = attempt(lambda: run.train_batches(step))
    count = run.model.count_globally(batch, error)

    run.model.prepare_for_training_step()
    sums = run.model.forward_backward(batch, count, forward_only=False)
    run.model.finish_training_step()

    totals = run.model.sum_globally({"tokens": tokens_in(batch), **sums})
    loss = totals["loss"] / count
    if not math.isfinite(loss):
        raise TrainingError(f"step {step + 1}: the loss is {loss}; the weights are still those of step {step}")
    _, grad_norm, _ = run.optimizer.step()
    run.scheduler.step()
    return {
        "loss": loss,
        **summarise(totals),
        "grad_norm": float(grad_norm or 0.0),
        "lr": learning_rate,
        "tokens": totals["tokens"],
    }


@torch.no_grad()
def validate(run: SupervisedRun) -> Metrics:
    """Loss and metrics over all validation items, the last partial batch included; names start with val_."""
    model = run.model
    model.prepare_for_validation_step()
    assert model.objective is not None
    sums: dict[str, Any] = dict.fromkeys(("items", *model.objective.metric_names), 0.0)
    for make_batch in run.validation_batches:
        batch = make_batch()
        sums["items"] += float(sum(map(model.objective.count, batch)))
        for name, value in model.forward_backward(batch, 1.0, forward_only=True).items():
            sums[name] = sums[name] + value
    model.finish_validation_step()
    if not run.validation_batches:
        return {}
    totals = model.sum_globally(sums)
    metrics = {"loss": totals["loss"] / totals["items"], **summarise(totals)}
    return {f"val_{name}": value for name, value in metrics.items()}


def attempt(make_batch: Callable[[], Sequence[Batch]]) -> tuple[Sequence[Batch], Exception | None]:
    """The batch, or the error that all ranks have to hear of before any of them waits for another."""
    try:
        return make_batch(), None
    except Exception as error:
        return [], error


def tokens_in(batch: Sequence[Batch]) -> float:
    return float(sum(micro_batch.num_tokens for micro_batch in batch))
