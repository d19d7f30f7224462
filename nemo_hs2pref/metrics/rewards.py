"""What a reward model's outputs are measured by.

Ratios do not merge: `measure` makes sums of a micro batch, `summarise` what people read of their totals, once.

Shapes: B rows, P pairs, K attributes.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nemo_hs2pref.data.batches.rewards import UNGRADED, RewardBatch
from nemo_hs2pref.data.records import IGNORED
from nemo_hs2pref.metrics.sums import Sums, moments, pearson

STRENGTHS = (UNGRADED, 1, 2, 3)  # the last three: slightly better, better, much better


def no_sums(num_attributes: int) -> Sums:
    """The sums of a micro batch without rows, for ranks that see no rewards: names and shapes are always these."""
    shapes = {"rewards": (6,), "attributes": (6, num_attributes), "pairs": (len(STRENGTHS), 4)}
    return {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}


def measure(attributes_BK: Tensor, reward_B: Tensor, batch: RewardBatch) -> Sums:
    """Sums of one micro batch in float64, without gradient and without waiting for an accelerator."""
    attributes_BK, reward_B = attributes_BK.detach().double(), reward_B.detach().double()
    every_row = torch.ones_like(reward_B, dtype=torch.bool)
    return {
        "rewards": moments(reward_B, batch.characters, every_row),
        "attributes": moments(attributes_BK, batch.attributes.double(), batch.attributes != IGNORED),
        "pairs": pair_sums(*batch.sides(reward_B), batch.strength),
    }


def pair_sums(chosen_P: Tensor, rejected_P: Tensor, strength_P: Tensor) -> Tensor:
    """[strengths, 4]: pairs, correct ones, chosen reward, rejected reward, by strength as in STRENGTHS."""
    values_P4 = torch.stack([torch.ones_like(chosen_P), chosen_P > rejected_P, chosen_P, rejected_P], dim=1)
    of_strength = torch.stack([strength_P == strength for strength in STRENGTHS])
    return of_strength.double() @ values_P4.double()


def summarise(sums: Mapping[str, Tensor], slots: Sequence[str]) -> dict[str, float]:
    """The metrics that the rows have: those of pairs where there were pairs, of an attribute where it was rated.

        accuracy, accuracy_strength_{1,2,3}   share of pairs with the higher reward on the chosen side; a tie is wrong
        margin, chosen_reward, rejected_reward   means over pairs
        reward_mean, reward_std               over responses; population standard deviation
        reward_length_correlation             Pearson, with the characters of the response
        mse_<attribute>, pearson_<attribute>  over rated responses

    A correlation with something constant is left out.
    """
    return {
        **_pair_metrics(sums["pairs"]),
        **_reward_metrics(sums["rewards"]),
        **_attribute_metrics(sums["attributes"], slots),
    }


def _pair_metrics(pairs: Tensor) -> dict[str, float]:
    count, correct, chosen, rejected = pairs.sum(dim=0).tolist()
    if not count:
        return {}
    metrics = {
        "accuracy": correct / count,
        "margin": (chosen - rejected) / count,
        "chosen_reward": chosen / count,
        "rejected_reward": rejected / count,
    }
    for strength, (count, correct, *_) in zip(STRENGTHS, pairs.tolist(), strict=True):
        if strength != UNGRADED and count:
            metrics[f"accuracy_strength_{strength}"] = correct / count
    return metrics


def _reward_metrics(rewards: Tensor) -> dict[str, float]:
    count, reward, _, squared, *_ = rewards.tolist()
    if not count:
        return {}
    mean = reward / count
    metrics = {"reward_mean": mean, "reward_std": math.sqrt(max(squared / count - mean * mean, 0.0))}
    correlation = pearson(rewards)
    return metrics if correlation is None else metrics | {"reward_length_correlation": correlation}


def _attribute_metrics(attributes: Tensor, slots: Sequence[str]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for slot, sums in zip(slots, attributes.unbind(dim=1), strict=True):
        count, _, _, xx, yy, xy = sums.tolist()
        if not count:
            continue
        metrics[f"mse_{slot}"] = (xx - 2 * xy + yy) / count
        if (correlation := pearson(sums)) is not None:
            metrics[f"pearson_{slot}"] = correlation
    return metrics
