"""One optimizer step on one global batch; every rank takes it, each with its own micro batches."""

import math
from collections.abc import Sequence

import torch

from nemo_hs2pref.algorithms.agreement import Flags, Metrics, agree
from nemo_hs2pref.data.batches.tokens import MakeBatch, MicroBatch
from nemo_hs2pref.errors import TrainingError
from nemo_hs2pref.metrics.sums import Sums
from nemo_hs2pref.models.megatron.collectives import count_globally, sum_globally
from nemo_hs2pref.models.trainable import Trainable, TrainedModel
from nemo_hs2pref.objectives.interface import Objective, loss_of, metrics_of, no_sums

TOKENS = "tokens"  # among the counts of the global batch


def train_step(
    trainable: Trainable, objective: Objective, make_batch: MakeBatch, step: int, flags: Flags
) -> tuple[Metrics, Sequence[str]]:
    """Forward, backward, clip, update: one collective before backward and one after, which agrees on a stop too.

    Returns the metrics of step `step`, counted from 0, and the reasons to stop after it. Raises TrainingError where
    the learning rate, the loss or the gradient norm is not finite, and says what that leaves of the weights.
    """
    learning_rate = trainable.optimizer.param_groups[0]["lr"]
    if not math.isfinite(learning_rate):
        raise TrainingError(
            f"step {step + 1}: the learning rate is {learning_rate}; no update was made with it, look at model.optim"
        )
    sums, num_tokens = backward(trainable.model, objective, make_batch)
    totals, stop = agree(trainable.model.device, sums, flags)
    metrics = metrics_of(objective, totals, missing_as_zero=True)
    if not math.isfinite(metrics["loss"]):
        refuse_broken_weights(trainable.model, f"step {step + 1}: the loss is {metrics['loss']}, for", step)
        raise TrainingError(
            f"step {step + 1}: the loss is {metrics['loss']}, though every weight is finite; no update was made "
            "with it. Look at the last steps in metrics.jsonl: a loss that grew asks for a lower model.optim.lr"
        )
    grad_norm = float(trainable.optimizer.step()[1] or 0.0)
    if not math.isfinite(grad_norm):
        raise TrainingError(
            f"step {step + 1}: the gradient norm is {grad_norm}, and the weights are lost; start again with "
            "other settings, the run resumes from its last state"
        )
    trainable.scheduler.step()
    return {**metrics, "grad_norm": grad_norm, "lr": learning_rate, "tokens": num_tokens}, stop


def refuse_broken_weights(model: TrainedModel, why: str, step: int) -> None:
    """Raise TrainingError on every rank where a weight of any is not finite, after `step` updates; a collective."""
    extremes = [torch.stack(torch.aminmax(weight.detach())).float() for weight in model.parameters()]
    broken = sum((~value.isfinite()).any().double() for value in extremes) + torch.zeros(())
    if sum_globally({"broken": broken}, model.device, ("broken",))["broken"]:
        since = f"the update of step {step} has left weights" if step else "the checkpoint it starts from has weights"
        raise TrainingError(
            f"{why} {since} that are not finite; nothing was saved of them. Start again with a lower model.optim.lr: "
            "the run goes on from its last checkpoint"
        )


def backward(model: TrainedModel, objective: Objective, make_batch: MakeBatch) -> tuple[Sums, float]:
    """Leave the gradients of the global batch in the model; returns this rank's sums, and the tokens of all ranks.

    Where one rank cannot make its batch all of them stop, see count_globally.
    """
    batch, error = attempt(make_batch)
    counts = count_globally(counts_of(objective, batch), model.device, error)
    model.prepare_for_training_step()
    sums = model.forward_backward(batch, loss_of(objective, counts), no_sums(objective))
    model.finish_training_step()
    return sums, counts[TOKENS]


def counts_of(objective: Objective, batch: Sequence[MicroBatch]) -> dict[str, float]:
    """Of this rank's micro batches: items of each term, and tokens."""
    counts = dict.fromkeys((TOKENS, *objective.weights), 0.0)
    for micro_batch in batch:
        counts[TOKENS] += micro_batch.tokens.num_tokens
        for name, count in objective.counts(micro_batch).items():
            counts[name] += count
    return counts


def attempt(make_batch: MakeBatch) -> tuple[Sequence[MicroBatch], Exception | None]:
    """The batch, or the error, which all ranks must hear of before any of them waits for another."""
    try:
        return make_batch(), None
    except Exception as error:
        return [], error
