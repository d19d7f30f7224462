"""Whether one model is better than another on the same pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.groups import prompt_numbers
from nemo_hs2pref.evaluation.preferences import chosen_wins, decided
from nemo_hs2pref.evaluation.rewardbench.difference import OverallDifference, overall_difference
from nemo_hs2pref.evaluation.statistics import INTERVALS, bootstrap_intervals, too_narrow


@dataclass(frozen=True)
class Comparison:
    """A model beside a baseline; shares are 0 to 1, ties are losses."""

    pairs: int
    prompts: int  # different ones; their pairs are resampled together
    accuracy: float
    baseline_accuracy: float
    difference: float  # accuracy minus baseline_accuracy
    interval: tuple[float, float]  # of the difference
    only_model: int  # pairs that the model gets right and the baseline wrong
    only_baseline: int
    p_value: float  # exact McNemar test, which takes the pairs of a prompt for independent; the interval does not
    overall: OverallDifference | None = None  # of RewardBench with all its subsets, which is judged by it

    def to_json(self) -> dict[str, Any]:
        found = {key: value for key, value in asdict(self).items() if value is not None}
        return {**found, "intervals": {"method": "paired percentile bootstrap over prompts", **INTERVALS}}

    def table(self) -> str:
        """One sentence, and a warning where the prompts are few."""
        low, high = self.interval if self.overall is None else self.overall.interval
        verdict = "better than" if low > 0 else "worse than" if high < 0 else "not shown to differ from"
        together = "" if self.prompts == self.pairs else f", if the pairs of {self.prompts} prompts were independent"
        told = (
            f"The model is {verdict} the baseline: {self._overall()}{self.accuracy:.1%} against "
            f"{self.baseline_accuracy:.1%} of {self.pairs} pairs, {_points(self.difference, self.interval)}; "
            f"{self.only_model} pairs only the model gets right, {self.only_baseline} only the baseline "
            f"(exact McNemar test: {_p(self.p_value)}{together})."
        )
        return "\n".join([told, *too_narrow({"": self.prompts})])

    def _overall(self) -> str:
        """The benchmark's own score first, where it has one."""
        if (found := self.overall) is None:
            return ""
        points = _points(found.difference, found.interval)
        return f"Overall {found.score:.1%} against {found.baseline_score:.1%}, {points}; "


def compare(
    pairs: Sequence[PreferencePair], rewards: Mapping[str, float], baseline_rewards: Mapping[str, float]
) -> Comparison:
    """Compare two models that scored the same pairs.

    Raises:
        DataError: no pairs, or a model's rewards do not fit them exactly; it says whose.
    """
    wins, baseline_wins = _wins("model", pairs, rewards), _wins("baseline", pairs, baseline_rewards)
    prompts = prompt_numbers([pair.prompt for pair in decided(pairs)])
    gains = wins.astype(np.float64) - baseline_wins
    ((interval,),) = bootstrap_intervals(gains[:, None], np.ones((len(gains), 1), dtype=bool), prompts)
    only_model, only_baseline = int((gains > 0).sum()), int((gains < 0).sum())
    return Comparison(
        pairs=len(prompts),
        prompts=len(np.unique(prompts)),
        accuracy=float(wins.mean()),
        baseline_accuracy=float(baseline_wins.mean()),
        difference=float(gains.mean()),
        interval=interval,
        only_model=only_model,
        only_baseline=only_baseline,
        p_value=mcnemar(only_model, only_baseline),
        overall=overall_difference([pair.subset for pair in decided(pairs)], wins, baseline_wins),
    )


def mcnemar(only_one: int, only_other: int) -> float:
    """Two-sided p-value of the exact McNemar test (McNemar, 1947): a fair coin falls this unevenly, or more so.

    p = 2 sum_{i <= min} C(n, i) / 2^n, at most 1, with n the pairs that only one of the two gets right; in integers, so
    that it is exact to rounding for any n, and 0.0 only where no float is as small.
    """
    discordant = only_one + only_other
    term, tail = 1, 1
    for i in range(min(only_one, only_other)):
        term = term * (discordant - i) // (i + 1)
        tail += term
    return min(1.0, 2 * tail / 2**discordant)


def _wins(whose: str, pairs: Sequence[PreferencePair], rewards: Mapping[str, float]) -> NDArray[np.bool_]:
    try:
        return chosen_wins(pairs, rewards)
    except DataError as fault:
        raise DataError(f"{whose}: {fault}") from None


def _points(difference: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
