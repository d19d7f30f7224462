"""The score of RewardBench 2's domain Ties: correct completions above wrong ones, and no order among the correct.

    score = 0.3 ref accuracy + 0.3 tied accuracy + 0.2 preferred + 0.2 preferred hard + 0.01 margin

Accuracy is the share of prompts whose lowest correct reward is above the highest wrong one. The rest looks at a tied
prompt and its reference prompt together, where both are there. With `spread` the highest minus the lowest correct
reward of the tied prompt, and `gap` the lowest correct minus the highest wrong reward of a prompt:

    preferred        share in which gap(tied) > spread
    preferred hard   share in which min(gap(ref), gap(tied)) > spread
    margin           mean of tanh(min(gap(ref), gap(tied)) / spread - 1)

Where the spread is 0, the tanh is 1 or -1 by the sign of the gap, and the term 0 where that is 0 as well. The rule is
that of allenai/reward-bench (rewardbench/utils.py at commit 05a9005e); a perfect model reaches up to 1.01.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from nemo_hs2pref.evaluation.rewardbench2.items import Item

WEIGHTS: Mapping[str, float] = {
    "ref_accuracy": 0.3,
    "tied_accuracy": 0.3,
    "preferred": 0.2,
    "preferred_hard": 0.2,
    "margin": 0.01,
}


@dataclass(frozen=True)
class TiesScore:
    """The terms of the score; all but the margin (-1 to 1) are shares."""

    ref_accuracy: float
    tied_accuracy: float
    preferred: float
    preferred_hard: float
    margin: float

    @property
    def score(self) -> float:
        return sum(WEIGHTS[name] * value for name, value in asdict(self).items())


def ties_score(items: Sequence[Item], values: Mapping[str, float]) -> TiesScore | None:
    """The terms for the items of Ties; None where no reference prompt has its tied prompt.

    Args:
        items: of Ties.
        values: id of a completion -> what it is ranked by: its reward, or its length.
    """
    gaps: dict[str, dict[int, float]] = {"ref": {}, "tied": {}}
    spreads: dict[int, float] = {}
    for item in items:
        kind, number = item.ties_id
        correct, wrong = item.split(values)
        gaps[kind][number] = min(correct) - max(wrong)
        if kind == "tied":
            spreads[number] = max(correct) - min(correct)
    both = sorted(gaps["ref"].keys() & gaps["tied"].keys())
    if not both:
        return None
    ref, tied, spread = (np.array([of[number] for number in both]) for of in (gaps["ref"], gaps["tied"], spreads))
    smaller = np.minimum(ref, tied)
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = np.nan_to_num(np.tanh(smaller / spread - 1), nan=0.0)
    return TiesScore(
        ref_accuracy=float(np.mean([gap > 0 for gap in gaps["ref"].values()])),
        tied_accuracy=float(np.mean([gap > 0 for gap in gaps["tied"].values()])),
        preferred=float((tied > spread).mean()),
        preferred_hard=float((smaller > spread).mean()),
        margin=float(margin.mean()),
    )
