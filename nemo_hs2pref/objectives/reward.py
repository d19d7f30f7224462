"""What a reward model is trained on: a weighted sum of the terms of a table.

A further loss is a function of functional/, a row of TERMS and a file of conf/loss/ (docs/contributing.md).

Shapes: B rows, P pairs, K attributes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nemo_hs2pref.data.batches.rewards import UNGRADED, RewardBatch
from nemo_hs2pref.functional import bradley_terry_loss, regression_loss, reward_centering_loss
from nemo_hs2pref.metrics.rewards import measure, no_sums, summarise
from nemo_hs2pref.metrics.sums import Sums


@dataclass(frozen=True)
class Term:
    """One loss: how many items a batch has for it, known before any forward pass, and the sum over them."""

    formula: str  # of one item, for the log; a Python expression, so that a test can evaluate it beside the function
    count: Callable[[RewardBatch], int]
    total: Callable[[Tensor, Tensor, RewardBatch], Tensor]  # attributes [B, K], reward [B] -> [], differentiable
    needs_strength: bool = False  # pairs of which only the direction is known are not for it


def squared_error(attributes_BK: Tensor, reward_B: Tensor, batch: RewardBatch) -> Tensor:
    """Over the rated cells of the attribute table (SteerLM regression)."""
    squared_BK, _ = regression_loss(attributes_BK, batch.attributes)
    return squared_BK.sum()


def regular_bt(attributes_BK: Tensor, reward_B: Tensor, batch: RewardBatch) -> Tensor:
    """Over pairs, with or without a strength."""
    return bradley_terry_loss(*batch.sides(reward_B), batch.strength, "regular").sum()


def graded_bt(attributes_BK: Tensor, reward_B: Tensor, batch: RewardBatch, *, variant: str) -> Tensor:
    """Over pairs with a strength; never divided by the sum of strengths (as in Aligner and the paper)."""
    loss_P = bradley_terry_loss(*batch.sides(reward_B), batch.strength.clamp(min=1), variant)
    return loss_P.where(batch.strength != UNGRADED, 0.0).sum()


def centering(attributes_BK: Tensor, reward_B: Tensor, batch: RewardBatch) -> Tensor:
    """Over pairs, with or without a strength."""
    return reward_centering_loss(*batch.sides(reward_B)).sum()


def rated_cells(batch: RewardBatch) -> int:
    return batch.num_valid


def pairs(batch: RewardBatch) -> int:
    return batch.num_pairs


def graded_pairs(batch: RewardBatch) -> int:
    return batch.num_graded


TERMS = {
    "regression": Term("(prediction - target)**2", rated_cells, squared_error),
    "regular_bt": Term("-log(sigmoid(r_c - r_r))", pairs, regular_bt),
    "margin_bt": Term(
        "-log(sigmoid(r_c - r_r - m))", graded_pairs, partial(graded_bt, variant="margin"), needs_strength=True
    ),
    "scaled_bt": Term(
        "-m * log(sigmoid(r_c - r_r))", graded_pairs, partial(graded_bt, variant="scaled"), needs_strength=True
    ),
    "centering": Term("(r_c + r_r)**2", pairs, centering),
}


@dataclass(frozen=True)
class RewardObjective:
    """An Objective over attributes [B, K] and a RewardBatch."""

    weights: Mapping[str, float]  # term -> weight, none of them 0
    reward_weights: tuple[float, ...]  # [K]: reward = attributes @ reward_weights
    slots: Sequence[str]  # [K] names of the attributes

    @property
    def formula(self) -> str:
        """For the log."""
        terms = [(weight, f"mean of {TERMS[name].formula}") for name, weight in self.weights.items()]
        return " + ".join(mean if weight == 1 else f"{weight:g} * ({mean})" for weight, mean in terms)

    @property
    def needs_strength(self) -> bool:
        """Some term is of pairs with a strength alone."""
        return any(TERMS[name].needs_strength for name in self.weights)

    def counts(self, batch: RewardBatch) -> dict[str, int]:
        return {name: TERMS[name].count(batch) for name in self.weights}

    def reward(self, attributes_BK: Tensor) -> Tensor:
        """[B] scalar reward: the weighted sum of the attributes; slots of weight 0 are left out.

        The weights stay on the host: copied to the GPU, they would make the host wait in every micro batch.
        """
        slots = zip(attributes_BK.unbind(dim=1), self.reward_weights, strict=True)
        return torch.stack([weight * attribute_B for attribute_B, weight in slots if weight]).sum(dim=0)

    def terms(self, outputs: Tensor, batch: RewardBatch) -> dict[str, Tensor]:
        reward_B = self.reward(outputs)
        return {
            name: TERMS[name].total(outputs, reward_B, batch) if count else outputs.sum() * 0.0
            for name, count in self.counts(batch).items()
        }

    def measures(self, outputs: Tensor, batch: RewardBatch) -> Sums:
        return measure(outputs, self.reward(outputs.detach()), batch)

    def no_measures(self) -> Sums:
        return no_sums(len(self.reward_weights))

    def summary(self, totals: Mapping[str, Tensor]) -> dict[str, float]:
        return summarise(totals, self.slots)
