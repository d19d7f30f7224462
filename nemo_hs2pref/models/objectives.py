"""What a reward model is trained on: a weighted sum of named terms, each a mean over its items.

The runtime divides each term's sum by its count over the whole global batch, so micro batch size, accumulation,
padding and ranks cannot change a result.

Shapes: B rows, P pairs, K attributes. Rows of a batch of pairs are the P chosen ones, then the P rejected ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nemo_hs2pref.data.batches import Batch
from nemo_hs2pref.functional import FORMULAS, bradley_terry_loss, regression_loss


@dataclass(frozen=True)
class Term:
    """One loss: how many items a batch has for it, known before any forward pass, and the sum over them."""

    count: Callable[[Batch], int]
    total: Callable[[Tensor, Tensor, Batch], Tensor]  # attributes [B, K], reward [B] -> [], differentiable


def squared_error(attributes_BK: Tensor, reward_B: Tensor, batch: Batch) -> Tensor:
    """Over the rated cells of the attribute table (SteerLM regression)."""
    squared_BK, _ = regression_loss(attributes_BK, batch.attributes)
    return squared_BK.sum()


def regular_bt(attributes_BK: Tensor, reward_B: Tensor, batch: Batch) -> Tensor:
    """Over pairs, with or without a strength."""
    chosen_P, rejected_P = reward_B.chunk(2)
    return bradley_terry_loss(chosen_P, rejected_P, batch.strength, "regular").sum()


def graded_bt(attributes_BK: Tensor, reward_B: Tensor, batch: Batch, *, variant: str) -> Tensor:
    """Over pairs with a strength; never divided by the sum of strengths (as in Aligner and the paper)."""
    chosen_P, rejected_P = reward_B.chunk(2)
    loss_P = bradley_terry_loss(chosen_P, rejected_P, batch.strength.clamp(min=1), variant)
    return loss_P.where(batch.strength > 0, 0.0).sum()


def rated_cells(batch: Batch) -> int:
    return batch.num_valid


def pairs(batch: Batch) -> int:
    return batch.num_pairs


def graded_pairs(batch: Batch) -> int:
    return batch.num_graded


TERMS = {
    "regression": Term(rated_cells, squared_error),
    "regular_bt": Term(pairs, regular_bt),
    "margin_bt": Term(graded_pairs, partial(graded_bt, variant="margin")),
    "scaled_bt": Term(graded_pairs, partial(graded_bt, variant="scaled")),
}


@dataclass(frozen=True)
class Objective:
    """loss = sum over terms of weight x mean over the term's items of the global batch."""

    weights: Mapping[str, float]  # term -> weight, none of them 0
    reward_weights: tuple[float, ...]  # [K]: reward = attributes @ reward_weights

    @property
    def formula(self) -> str:
        """For the log."""
        terms = [(weight, f"mean of {FORMULAS[name]}") for name, weight in self.weights.items()]
        return " + ".join(mean if weight == 1 else f"{weight:g} * ({mean})" for weight, mean in terms)

    def counts(self, batch: Batch) -> dict[str, int]:
        """Items of each term in a micro batch."""
        return {name: TERMS[name].count(batch) for name in self.weights}

    def reward(self, attributes_BK: Tensor) -> Tensor:
        """[B] scalar reward: the weighted sum of the attributes; slots of weight 0 are left out.

        The weights stay on the host: copied to the GPU, they would make the host wait in every micro batch.
        """
        slots = zip(attributes_BK.unbind(dim=1), self.reward_weights, strict=True)
        return torch.stack([weight * attribute_B for attribute_B, weight in slots if weight]).sum(dim=0)

    def totals(self, attributes_BK: Tensor, reward_B: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Sum of each term over the items of the micro batch; 0 where it has none."""
        return {
            name: TERMS[name].total(attributes_BK, reward_B, batch) if count else attributes_BK.sum() * 0.0
            for name, count in self.counts(batch).items()
        }

    def loss(self, totals: Mapping[str, Tensor], counts: Mapping[str, float]) -> Tensor:
        """[] what a micro batch adds to the loss; a term without items in the global batch adds nothing."""
        parts = [total * (self.weights[name] / max(counts[name], 1.0)) for name, total in totals.items()]
        return torch.stack(parts).sum()

    def losses(self, sums: Mapping[str, Tensor], *, missing_as_zero: bool = False) -> dict[str, float]:
        """The "loss" where all terms have items, and loss_<term> where there are several terms.

        Args:
            sums: term -> [2], its total and its number of items over the global batch.
            missing_as_zero: count a term without items as 0 (training) instead of giving no loss (validation set of
                another kind).
        """
        means = {name: (sums[name][0] / sums[name][1]).item() for name in self.weights if sums[name][1]}
        losses = {f"loss_{name}": mean for name, mean in means.items()} if len(self.weights) > 1 else {}
        if missing_as_zero or len(means) == len(self.weights):
            losses["loss"] = sum((self.weights[name] * mean for name, mean in means.items()), start=0.0)
        return losses
