"""What a reward model is trained on: named terms, each a sum and a count over the items of a batch.

The runtime divides each sum by its count over the whole global batch (design decision 9), so micro batch size,
accumulation, padding and ranks cannot change a result.

Shapes: B rows, P pairs, K attributes. Rows of a pair batch are the P chosen ones, then the P rejected ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from nemo_hs2pref.data.batches import PairBatch, RatingBatch
from nemo_hs2pref.functional import FORMULAS, bradley_terry_loss, regression_loss

REWARD_SUMS = ("rows", "reward", "reward_squared")


@dataclass(frozen=True)
class Term:
    """One named part of an objective over the items of one micro batch."""

    total: Tensor  # [] float32 or wider, differentiable: sum over its items
    metrics: Mapping[str, Tensor] = field(default_factory=dict)  # [] each: sums over the same items


class Objective(Protocol):
    """What the model needs of an objective."""

    @property
    def name(self) -> str: ...

    @property
    def formula(self) -> str: ...

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the sums, "loss" first; every rank must know them, with or without a loss of its own."""
        ...

    def count(self, batch: RatingBatch | PairBatch) -> int:
        """Items the sum runs over, known before any forward pass."""
        ...

    def __call__(self, attributes_BK: Tensor, batch: RatingBatch | PairBatch) -> Term: ...


@dataclass(frozen=True)
class Regression:
    """Mean squared error over the valid cells of the attribute table (SteerLM regression)."""

    reward_weights: tuple[float, ...]  # [K]: the reward, for the metrics, is attributes @ reward_weights
    name: str = "regression"
    formula: str = FORMULAS["regression"]
    metric_names = ("loss", *REWARD_SUMS)

    def count(self, batch: RatingBatch | PairBatch) -> int:
        assert isinstance(batch, RatingBatch)
        return batch.num_valid

    def __call__(self, attributes_BK: Tensor, batch: RatingBatch | PairBatch) -> Term:
        assert isinstance(batch, RatingBatch)
        squared_BK, _ = regression_loss(attributes_BK, batch.attributes)
        reward_B = reward_of(attributes_BK, self.reward_weights).detach()
        return Term(squared_BK.sum(), reward_sums(reward_B))


@dataclass(frozen=True)
class BradleyTerry:
    """Mean Bradley-Terry loss over pairs; never divided by the sum of strengths (as in Aligner and the paper)."""

    variant: str  # regular, margin or scaled
    reward_weights: tuple[float, ...]
    metric_names = ("loss", "pairs", "correct", "margin", *REWARD_SUMS)

    @property
    def name(self) -> str:
        return f"{self.variant}_bt"

    @property
    def formula(self) -> str:
        return FORMULAS[self.name]

    def count(self, batch: RatingBatch | PairBatch) -> int:
        assert isinstance(batch, PairBatch)
        return len(batch.strength)

    def __call__(self, attributes_BK: Tensor, batch: RatingBatch | PairBatch) -> Term:
        assert isinstance(batch, PairBatch)
        reward_B = reward_of(attributes_BK, self.reward_weights)
        chosen_P, rejected_P = reward_B.chunk(2)
        loss_P = bradley_terry_loss(chosen_P, rejected_P, batch.strength, self.variant)
        margin_P = (chosen_P - rejected_P).detach()
        pairs = {"pairs": torch.ones_like(margin_P).sum(), "correct": (margin_P > 0).sum(), "margin": margin_P.sum()}
        return Term(loss_P.sum(), pairs | reward_sums(reward_B.detach()))


def reward_of(attributes_BK: Tensor, weights: tuple[float, ...]) -> Tensor:
    """[B] scalar reward: the weighted sum of the attributes; a slot of weight 0 has no part in it.

    The weights stay numbers of the host: copied to the GPU, they would make it wait in every micro batch.
    """
    slots = zip(attributes_BK.unbind(dim=1), weights, strict=True)
    return torch.stack([weight * attribute_B for attribute_B, weight in slots if weight]).sum(dim=0)


def reward_sums(reward_B: Tensor) -> dict[str, Tensor]:
    """What the mean and standard deviation of the reward are made of."""
    reward_B = reward_B.double()
    values = (torch.ones_like(reward_B), reward_B, reward_B.square())
    return {name: value.sum() for name, value in zip(REWARD_SUMS, values, strict=True)}


OBJECTIVES = {
    "regression": Regression,
    "regular_bt": partial(BradleyTerry, "regular"),
    "margin_bt": partial(BradleyTerry, "margin"),
    "scaled_bt": partial(BradleyTerry, "scaled"),
}
