"""What a model's rewards are worth on RewardBench, beside what the length of the responses alone would reach."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.benchmark import Count, gaps, unofficial_counts
from nemo_hs2pref.evaluation.groups import lengths_of
from nemo_hs2pref.evaluation.preferences import rewards_of
from nemo_hs2pref.evaluation.rewardbench.sections import NUM_PAIRS, missing_subsets, section_scores, unknown_subset
from nemo_hs2pref.evaluation.scores import first_ids, require_scores
from nemo_hs2pref.evaluation.statistics import INTERVALS, bootstrap_interval, too_narrow


@dataclass(frozen=True)
class SubsetReport:
    """The pairs of one subset; shares are 0 to 1."""

    pairs: int
    accuracy: float  # share of pairs in which the chosen response has the higher reward; a tie is a loss
    interval: tuple[float, float]
    ties: int
    length_only_accuracy: float  # share in which the chosen response has more characters; equal length is a loss
    shorter_only_accuracy: float  # share in which it has fewer; equal length is a loss here too


@dataclass(frozen=True)
class RewardBenchReport:
    """Accuracies by subset, and the sections that they fill."""

    pairs: int
    accuracy: float  # over all pairs, each with the same weight: not the benchmark's Overall
    length_only_accuracy: float
    shorter_only_accuracy: float
    ties: int
    empty_responses: int  # of both sides; they are scored like others
    subsets: dict[str, SubsetReport]
    sections: dict[str, float]  # see section_scores
    length_only_sections: dict[str, float]
    shorter_only_sections: dict[str, float]
    incomplete: dict[str, list[str]]  # section that is not scored -> the subsets it lacks
    unofficial_counts: dict[str, Count]  # subset -> pairs, where they are not as many as were released

    def to_json(self) -> dict[str, Any]:
        method = "percentile bootstrap over the pairs of a subset"
        return {**asdict(self), "intervals": {"method": method, **INTERVALS}}

    def table(self) -> str:
        """For the terminal, in per cent."""
        rules = f"{'longer wins':>13}{'shorter wins':>14}"
        lines = [f"{'subset':<24}{'pairs':>6}{'accuracy':>10}{'95 % interval':>18}{'ties':>6}{rules}"]
        for name, subset in self.subsets.items():
            low, high = subset.interval
            lines.append(
                f"{name:<24}{subset.pairs:>6}{subset.accuracy:>10.1%}{f'[{low:.1%}, {high:.1%}]':>18}"
                f"{subset.ties:>6}{subset.length_only_accuracy:>13.1%}{subset.shorter_only_accuracy:>14.1%}"
            )
        if self.sections:
            lines += ["", f"{'section':<30}{'score':>10}{'':24}{rules}"]
        lines += [
            f"{name:<30}{score:>10.1%}{self.length_only_sections[name]:>37.1%}{self.shorter_only_sections[name]:>14.1%}"
            for name, score in self.sections.items()
        ]
        few = too_narrow({name: subset.pairs for name, subset in self.subsets.items()}, "pairs")
        return "\n".join([*lines, *few, *gaps(self.incomplete, self.unofficial_counts)])


def evaluate_rewardbench(pairs: Sequence[PreferencePair], rewards: Mapping[str, float]) -> RewardBenchReport:
    """Compare the rewards of both sides of every pair, subset by subset.

    Args:
        pairs: at least one, each with one of RewardBench's subsets or prior sets.
        rewards: id -> reward, with "<id>:chosen" and "<id>:rejected" for every pair and nothing else.

    Raises:
        DataError: no pairs, pairs with an unknown subset or none, or rewards that are missing, left over or not finite.
    """
    require_subsets(pairs)
    require_scores(pairs, rewards)
    scored, lengths = rewards_of(pairs, rewards), lengths_of(pairs)
    wins, ties = scored[:, 0] > scored[:, 1], scored[:, 0] == scored[:, 1]
    longer, shorter = lengths[:, 0] > lengths[:, 1], lengths[:, 0] < lengths[:, 1]
    places = {subset: np.array([pair.subset == subset for pair in pairs]) for subset in NUM_PAIRS}
    subsets = {
        name: _subset_report(*(each[place] for each in (wins, longer, shorter, ties)))
        for name, place in places.items()
        if place.any()
    }
    return RewardBenchReport(
        pairs=len(pairs),
        accuracy=float(wins.mean()),
        length_only_accuracy=float(longer.mean()),
        shorter_only_accuracy=float(shorter.mean()),
        ties=int(ties.sum()),
        empty_responses=int((lengths == 0).sum()),
        subsets=subsets,
        sections=section_scores({name: subset.accuracy for name, subset in subsets.items()}),
        length_only_sections=section_scores({name: subset.length_only_accuracy for name, subset in subsets.items()}),
        shorter_only_sections=section_scores({name: subset.shorter_only_accuracy for name, subset in subsets.items()}),
        incomplete=missing_subsets(subsets),
        unofficial_counts=unofficial_counts({name: subset.pairs for name, subset in subsets.items()}, NUM_PAIRS),
    )


def _subset_report(
    wins: NDArray[np.bool_], longer: NDArray[np.bool_], shorter: NDArray[np.bool_], ties: NDArray[np.bool_]
) -> SubsetReport:
    return SubsetReport(
        pairs=len(wins),
        accuracy=float(wins.mean()),
        interval=bootstrap_interval(wins),
        ties=int(ties.sum()),
        length_only_accuracy=float(longer.mean()),
        shorter_only_accuracy=float(shorter.mean()),
    )


def require_subsets(pairs: Sequence[PreferencePair]) -> None:
    """One DataError for all pairs that no section could count."""
    if not pairs:
        raise DataError("no pairs to evaluate; expected at least one")
    ids: dict[str | None, list[str]] = {}
    for pair in pairs:
        if pair.subset not in NUM_PAIRS:
            ids.setdefault(pair.subset, []).append(pair.id)
    if ids:
        problems = [
            f"{len(found)} with {'no subset' if subset is None else unknown_subset(subset)} ({first_ids(found)})"
            for subset, found in ids.items()
        ]
        raise DataError(
            f"{sum(map(len, ids.values()))} of {len(pairs)} pairs belong to no subset of RewardBench: "
            f"{'; '.join(problems)}; the subsets are {', '.join(NUM_PAIRS)}"
        )
