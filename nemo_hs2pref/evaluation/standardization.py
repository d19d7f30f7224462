"""Mean and standard deviation of a model's rewards over a set of responses, and rewards measured in them.

A reward model fixes its rewards up to offset and scale only, so policies are trained on (reward - mean) / std over
HelpSteer2's responses (HelpSteer2, arXiv 2406.08673, PPO). NeMo-Aligner 0.7.0 has the pair in its server's
configuration, `model.reward_standardization`, and refuses it for regression models.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.scores import Score

ROUNDING = 2.0**-23  # of float32, in which the head computes

Figures = Mapping[str, Any]  # {"reward": {"mean", "std"}, "attributes": {name: {"mean", "std"}}}, and more where stored


def measure(scores: Sequence[Score]) -> dict[str, Any]:
    """{"rows", "reward", "attributes"} of at least two scores; std is the population's, all in float64.

    Raises DataError where a value is not finite, or where all values are equal and nothing could be divided by.
    """
    refuse_not_finite(scores)
    return {
        "rows": len(scores),
        "reward": moments("reward", [score.reward for score in scores]),
        "attributes": {
            name: moments(name, [score.attributes[name] for score in scores]) for name in scores[0].attributes
        },
    }


def moments(name: str, values: Sequence[float]) -> dict[str, float]:
    """{"mean", "std"}: sqrt(mean((x - mean)^2)), above what float32 rounding alone would give."""
    values_N = np.asarray(values, dtype=np.float64)
    mean, std = float(values_N.mean()), float(values_N.std())
    if std <= ROUNDING * np.abs(values_N).max():
        raise DataError(
            f"{name} is {mean:g} for all {len(values)} rows, so there is no std to divide by; "
            "use rows that differ, or train the model first"
        )
    return {"mean": mean, "std": std}


def refuse_not_finite(scores: Sequence[Score]) -> None:
    """A NaN would spread to every standardized reward."""
    broken = [score.id for score in scores if not score.is_finite]
    if broken:
        raise DataError(
            f"{len(broken)} of {len(scores)} rows have a reward or attribute that is not finite, {broken[0]!r} first; "
            "the model's weights or the precision are broken"
        )


def standardized(score: Score, figures: Figures) -> Score:
    """(x - mean) / std of the reward and of each attribute; std is above 0, so ranks stay.

    The reward has its own figures: it is not the weighted sum of the standardized attributes.
    """

    def scaled(value: float, of: Mapping[str, float]) -> float:
        return (value - of["mean"]) / of["std"]

    attributes = {name: scaled(value, figures["attributes"][name]) for name, value in score.attributes.items()}
    return Score(score.id, scaled(score.reward, figures["reward"]), attributes, standardized=True)
