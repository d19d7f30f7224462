"""From an interval to an answer, and both in words."""

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.report.document import Finding, Tone

WORSE, NOT_SHOWN = "no, worse", "not shown"  # of a model that is not above what it is compared with
NOTABLE = 0.05  # a smaller distance of two shares is told, and not held against the model, however sure it is
TOLERANCE = 0.1  # what is to be close to 0 is so where its whole interval is closer than this
TOO_FEW = "These are too few pairs to tell."
Interval = tuple[float, float]
Booleans = NDArray[np.bool_]


def verdict(interval: Interval) -> tuple[str, Tone]:
    """Of an interval of what should be above 0."""
    if interval[0] > 0:
        return "yes", "good"
    return (WORSE if interval[1] < 0 else NOT_SHOWN), "bad"


def close_to_zero(question: str, gap: float, interval: Interval, told: str, no: str) -> Finding:
    """No where the gap is notable and its interval leaves out 0; yes where it is not, for sure; else open."""
    if abs(gap) >= NOTABLE and not interval[0] <= 0 <= interval[1]:
        return Finding(question, no, "unsure", told)
    if abs(gap) < NOTABLE and max(np.abs(interval)) < TOLERANCE:
        return Finding(question, "yes", "good", told)
    return Finding(question, "open", "unsure", f"{told} {TOO_FEW}")


def difference_interval(first: Booleans, second: Booleans) -> Interval:
    """95 % interval of the difference of two shares of separate pairs, which it takes for independent.

    Each has its normal approximation, with one success and one failure added, so that shares of 0 and 1 have a width
    (Agresti and Caffo, 2000); cut off at the differences that are possible.
    """
    shares = [((group.sum() + 1) / (len(group) + 2), len(group) + 2) for group in (first, second)]
    half = 1.96 * np.sqrt(sum(share * (1 - share) / number for share, number in shares))
    centre = shares[0][0] - shares[1][0]
    return max(-1.0, float(centre - half)), min(1.0, float(centre + half))


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def span(interval: Interval) -> str:
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def signed_span(interval: Interval) -> str:
    return f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
