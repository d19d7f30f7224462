"""What an evaluation says about a reward model: four questions, each with its answer and the figures behind it.

Better than chance and length is what a 95 % interval shows to be better. Calibrated and independent of length is what
is not shown to differ by 5 points or more.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.report.document import Finding, Tone
from nemo_hs2pref.report.evaluations import Evaluation

CHANCE, LENGTH, CALIBRATION, DEPENDENCE = (
    "Better than chance?",
    "Better than length alone?",
    "Are its margins probabilities?",
    "Independent of length?",
)
NOTABLE = 0.05  # a smaller distance of two shares is told, and not held against the model, however sure it is
FEWEST = 10  # pairs of a group that an accuracy is compared with
Interval = tuple[float, float]
Booleans = NDArray[np.bool_]


def findings(evaluation: Evaluation) -> list[Finding]:
    """Those that can be asked of what is there, in the order of the page."""
    return list(_findings(evaluation))


def _findings(evaluation: Evaluation) -> Iterator[Finding]:
    if evaluation.is_of_pairs:
        yield beats_chance(evaluation)
    yield beats_length(evaluation)
    if evaluation.is_of_pairs and evaluation.pairs:
        yield is_calibrated(evaluation)
        yield depends_on_length(evaluation)


def beats_chance(evaluation: Evaluation) -> Finding:
    """The interval of the accuracy against one half."""
    accuracy, interval = evaluation.summary["accuracy"], accuracy_interval(evaluation)
    reason = (
        f"The chosen response has the higher reward in {percent(accuracy)} of {evaluation.summary['pairs']:,} pairs"
    )
    if interval is None:
        return Finding(CHANCE, "open", "unsure", f"{reason}; the evaluation has no interval.")
    answer, tone = verdict((interval[0] - 0.5, interval[1] - 0.5))
    return Finding(CHANCE, answer, tone, f"{reason} (95 % interval {span(interval)}); guessing gives 50 %.")


def beats_length(evaluation: Evaluation) -> Finding:
    """Against choosing the longer response: pair by pair where the pairs are there, else by the accuracy's interval."""
    accuracy, length_only = evaluation.summary["accuracy"], evaluation.summary["length_only_accuracy"]
    both = f"{percent(accuracy)} by the reward, {percent(length_only)} by taking the longer response"
    if evaluation.is_of_pairs and evaluation.pairs:
        interval = gain_interval(evaluation)
        answer, tone = verdict(interval)
        points = f"{100 * (accuracy - length_only):+.1f} points on the same pairs"
        return Finding(LENGTH, answer, tone, f"{both}: {points} (95 % interval {signed_span(interval)}).")
    if domains := evaluation.summary.get("domains"):
        return beats_length_by_domain(domains)
    interval = accuracy_interval(evaluation)
    if interval is None:
        return Finding(LENGTH, "open", "unsure", f"{both}; the evaluation has no interval.")
    answer, tone = verdict((interval[0] - length_only, interval[1] - length_only))
    return Finding(LENGTH, answer, tone, f"{both}; the accuracy's 95 % interval is {span(interval)}.")


def beats_length_by_domain(domains: Mapping[str, Mapping[str, Any]]) -> Finding:
    """RewardBench 2: in which domains the score's interval lies above what length alone scores."""
    known = {name: domain for name, domain in domains.items() if domain.get("interval")}
    above = [name for name, domain in known.items() if domain["interval"][0] > domain["length_only_score"]]
    reason = f"The score's 95 % interval lies above length alone in {len(above)} of {len(known)} domains"
    told = f"{reason}: {', '.join(above)}." if above else f"{reason}."
    if len(above) == len(known):
        return Finding(LENGTH, "yes", "good", told)
    return Finding(LENGTH, "in some domains", "unsure", told) if above else Finding(LENGTH, "not shown", "bad", told)


def gain_interval(evaluation: Evaluation) -> Interval:
    """95 % interval of the accuracy less that of length, pair by pair."""
    chosen, rejected = evaluation.lengths().T
    return evaluation.interval((evaluation.margins() > 0).astype(float) - (chosen > rejected))


def is_calibrated(evaluation: Evaluation) -> Finding:
    """Bradley-Terry's probability of the preferred side, sigma(|margin|), against how often that side is the chosen."""
    margins = evaluation.margins()
    claimed, right = confidence(margins), margins > 0
    gap, interval = float((claimed - right).mean()), evaluation.interval(claimed - right)
    reason = (
        f"By its margins it is right in {percent(float(claimed.mean()))}, in fact in {percent(float(right.mean()))}"
    )
    if interval[0] <= 0 <= interval[1] or abs(gap) < NOTABLE:
        within = f"{100 * gap:+.1f} points (95 % interval {signed_span(interval)})"
        return Finding(CALIBRATION, "yes", "good", f"{reason}: {within}.")
    kind = "over-confident" if gap > 0 else "under-confident"
    text = f"{reason}: {kind}, {100 * gap:+.1f} points (95 % interval {signed_span(interval)})."
    return Finding(CALIBRATION, f"no, {kind}", "unsure", text)


def depends_on_length(evaluation: Evaluation) -> Finding:
    """Whether it is right about as often where the better response is the shorter one."""
    right, longer, shorter = evaluation.margins() > 0, *longer_and_shorter(evaluation)
    if min(longer.sum(), shorter.sum()) < FEWEST:
        few = f"{longer.sum()} pairs have the longer response as the chosen one and {shorter.sum()} the shorter"
        return Finding(DEPENDENCE, "open", "unsure", f"{few}; at least {FEWEST} of each are needed.")
    of_longer, of_shorter = right[longer], right[shorter]
    reason = (
        f"Right in {percent(of_longer.mean())} where the longer response is the better one ({len(of_longer):,} pairs), "
        f"in {percent(of_shorter.mean())} where the shorter one is ({len(of_shorter):,} pairs)"
    )
    interval = difference_interval(of_longer, of_shorter)
    gap = of_longer.mean() - of_shorter.mean()
    between = f"a difference of {100 * gap:+.1f} points"
    text = f"{reason}: {between} (95 % interval {signed_span(interval)})."
    if interval[0] <= 0 <= interval[1] or abs(gap) < NOTABLE:
        return Finding(DEPENDENCE, "yes", "good", text)
    return Finding(DEPENDENCE, f"no, it favours {'long' if interval[0] > 0 else 'short'} responses", "unsure", text)


def longer_and_shorter(evaluation: Evaluation) -> tuple[Booleans, Booleans]:
    """[P] whether the chosen response is the longer one; the shorter one. Neither where both are equally long."""
    chosen, rejected = evaluation.lengths().T
    return chosen > rejected, chosen < rejected


def confidence(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """[P] sigma(|margin|), 0.5 to 1."""
    return 1 / (1 + np.exp(-np.abs(margins)))


def difference_interval(first: Booleans, second: Booleans) -> Interval:
    """95 % interval of the difference of two shares of separate pairs, which it takes for independent.

    Each has its normal approximation, with one success and one failure added, so that shares of 0 and 1 have a width
    (Agresti and Caffo, 2000).
    """
    shares = [((group.sum() + 1) / (len(group) + 2), len(group) + 2) for group in (first, second)]
    half = 1.96 * np.sqrt(sum(share * (1 - share) / number for share, number in shares))
    centre = shares[0][0] - shares[1][0]
    return float(centre - half), float(centre + half)


def accuracy_interval(evaluation: Evaluation) -> Interval | None:
    """The evaluation's own interval, or one over the pairs."""
    for key in ("interval", "accuracy_interval"):
        if interval := evaluation.summary.get(key):
            return tuple(interval)
    if evaluation.is_of_pairs and evaluation.pairs:
        return evaluation.interval((evaluation.margins() > 0).astype(float))
    return None


def verdict(interval: Interval) -> tuple[str, Tone]:
    """Of an interval of what should be above 0."""
    if interval[0] > 0:
        return "yes", "good"
    return ("no, worse", "bad") if interval[1] < 0 else ("not shown", "bad")


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def span(interval: Interval) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def signed_span(interval: Interval) -> str:
    return f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
