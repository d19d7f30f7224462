"""What the runtime knows of an objective: counts, terms, measures, summary.

The loss of a global batch is the sum over terms of weight x sum / count, both over the whole of it, so that micro
batch size, accumulation, padding and ranks cannot change a result. Items are counted before any forward pass, in the
one collective that there is before backward; sums are added over micro batches and ranks, in the one after it.

    class Brevity:                                          # an objective of one term
        weights = {"length": 1.0}
        formula = "mean of length"

        def counts(self, batch): return {"length": len(batch.tokens.row_lengths)}
        def terms(self, outputs, batch): return {"length": outputs.sum()}
        def measures(self, outputs, batch): return {}
        def no_measures(self): return {}
        def summary(self, totals): return {}
"""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from nemo_hs2pref.metrics.sums import LossOf, Sums


class Objective(Protocol):
    """Of outputs of a model's last stage and the micro batch that they are of."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Term -> its weight, none of them 0."""
        ...

    @property
    def formula(self) -> str:
        """For the log."""
        ...

    def counts(self, batch: Any) -> Mapping[str, int]:
        """Term -> items that the micro batch has for it, known before any forward pass."""
        ...

    def terms(self, outputs: Tensor, batch: Any) -> Mapping[str, Tensor]:
        """Term -> [], its sum over these items, differentiable; 0 where there are none."""
        ...

    def measures(self, outputs: Tensor, batch: Any) -> Sums:
        """Named sums in float64 without gradient, of names and shapes that are always the same."""
        ...

    def no_measures(self) -> Sums:
        """The measures of nothing, for ranks that see no outputs."""
        ...

    def summary(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        """What people read of the measures' totals: what there was, and nothing in the place of what there was not."""
        ...


def no_sums(objective: Objective) -> Sums:
    """As `sums_of`, of nothing."""
    return {name: torch.zeros(2) for name in objective.weights} | objective.no_measures()


def sums_of(objective: Objective, outputs: Tensor, batch: Any) -> Sums:
    """Term -> [2], its sum and its number of items; and the measures."""
    return _sums(objective, objective.terms(outputs, batch), outputs, batch)


def loss_of(objective: Objective, counts: Mapping[str, float]) -> LossOf:
    """What a micro batch adds to the loss of a global batch with these counts, and its sums.

    A term without items in the global batch adds nothing.
    """

    def loss(outputs: Tensor, batch: Any) -> tuple[Tensor, Sums]:
        terms = objective.terms(outputs, batch)
        parts = [total * (objective.weights[name] / max(counts[name], 1.0)) for name, total in terms.items()]
        return torch.stack(parts).sum(), _sums(objective, terms, outputs, batch)

    return loss


def _sums(objective: Objective, terms: Mapping[str, Tensor], outputs: Tensor, batch: Any) -> Sums:
    counts = objective.counts(batch)
    sums = {name: torch.stack([term.detach(), torch.full_like(term, counts[name])]) for name, term in terms.items()}
    return sums | objective.measures(outputs, batch)


def metrics_of(
    objective: Objective, totals: Mapping[str, Tensor], *, missing_as_zero: bool = False
) -> dict[str, float]:
    """The losses, and what was measured.

    The "loss" where all terms have items, and loss_<term> where there are several terms.

    Args:
        totals: of `sums_of`, over the global batch.
        missing_as_zero: count a term without items as 0 (training) instead of giving no loss (validation set of
            another kind).
    """
    weights = objective.weights
    means = {name: (totals[name][0] / totals[name][1]).item() for name in weights if totals[name][1]}
    metrics = {f"loss_{name}": mean for name, mean in means.items()} if len(weights) > 1 else {}
    if missing_as_zero or len(means) == len(weights):
        metrics["loss"] = sum((weights[name] * mean for name, mean in means.items()), start=0.0)
    return metrics | objective.summary(totals)
