"""What an evaluation says about a reward model: four questions, each with its answer and the figures behind it.

A question is answered only where a 95 % interval decides it; otherwise the answer is that it is open.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.evaluation.statistics import bootstrap_interval
from nemo_hs2pref.report.document import Finding, Tone
from nemo_hs2pref.report.evaluations import Evaluation

CHANCE, LENGTH, CALIBRATION, DEPENDENCE = (
    "Better than chance?",
    "Better than length alone?",
    "Are its margins probabilities?",
    "Independent of length?",
)
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
        lengths = evaluation.lengths()
        gains = (evaluation.margins() > 0).astype(float) - (lengths[:, 0] > lengths[:, 1])
        interval = bootstrap_interval(gains)
        answer, tone = verdict(interval)
        points = f"{100 * gains.mean():+.1f} points on the same pairs (95 % interval {signed_span(interval)})"
        return Finding(LENGTH, answer, tone, f"{both}: {points}.")
    interval = accuracy_interval(evaluation)
    if interval is None:
        return Finding(LENGTH, "open", "unsure", f"{both}; the evaluation has no interval.")
    answer, tone = verdict((interval[0] - length_only, interval[1] - length_only))
    return Finding(LENGTH, answer, tone, f"{both}; the accuracy's 95 % interval is {span(interval)}.")


def is_calibrated(evaluation: Evaluation) -> Finding:
    """Bradley-Terry's probability of the preferred side, sigma(|margin|), against how often that side is the chosen."""
    margins = evaluation.margins()
    claimed, right = confidence(margins), margins > 0
    gap, interval = float((claimed - right).mean()), bootstrap_interval(claimed - right)
    reason = (
        f"By its margins it is right in {percent(float(claimed.mean()))}, in fact in {percent(float(right.mean()))}"
    )
    if interval[0] <= 0 <= interval[1]:
        return Finding(CALIBRATION, "yes", "good", f"{reason}; the difference is within chance.")
    kind = "over-confident" if gap > 0 else "under-confident"
    text = f"{reason}: {kind} by {100 * abs(gap):.1f} points (95 % interval {signed_span(interval)})."
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
    between = f"a difference of {100 * (of_longer.mean() - of_shorter.mean()):+.1f} points"
    text = f"{reason}: {between} (95 % interval {signed_span(interval)})."
    if interval[0] <= 0 <= interval[1]:
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
    """95 % interval of the difference of two shares of separate pairs, each with its normal approximation.

    One success and one failure are added to each (Agresti and Caffo, 2000), so that shares of 0 and 1 have a width.
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
        return bootstrap_interval(evaluation.margins() > 0)
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
