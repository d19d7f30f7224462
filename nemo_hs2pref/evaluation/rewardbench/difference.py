"""How far two models are apart in RewardBench's Overall, on the same pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.evaluation.rewardbench.sections import SECTIONS
from nemo_hs2pref.evaluation.statistics import DIGITS, stratified_bootstrap_interval

# subset -> what it weighs in Overall, the plain mean of the sections
WEIGHTS = {
    subset: weight / sum(weights.values()) / len(SECTIONS)
    for weights in SECTIONS.values()
    for subset, weight in weights.items()
}


@dataclass(frozen=True)
class OverallDifference:
    """Shares, 0 to 1; the interval is that of the difference, with pairs resampled within their subsets."""

    score: float
    baseline_score: float
    difference: float
    interval: tuple[float, float]


def overall_difference(
    subsets: Sequence[str | None], wins: NDArray[np.bool_], baseline_wins: NDArray[np.bool_]
) -> OverallDifference | None:
    """Of [P] pairs, their subsets and what each model gets right; None where a subset of the benchmark is missing."""
    names = np.array([subset or "" for subset in subsets])
    places = {subset: names == subset for subset in WEIGHTS}
    if not all(place.any() for place in places.values()):
        return None
    score, baseline_score = (
        float(sum(WEIGHTS[subset] * each[place].mean() for subset, place in places.items()))
        for each in (wins, baseline_wins)
    )
    gains = wins.astype(np.float64) - baseline_wins
    strata = [(WEIGHTS[subset], gains[place]) for subset, place in places.items()]
    return OverallDifference(
        score, baseline_score, round(score - baseline_score, DIGITS), stratified_bootstrap_interval(strata)
    )
