"""Whether sigma(chosen reward - rejected reward) is the share of pairs in which the response it favours was chosen.

Bradley-Terry rewards are trained to be. Regression rewards are on the scale of the ratings: how far off they are says
what a Bradley-Terry stage has to change, not that their order is wrong.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.evaluation.statistics import SEED

BINS = 10
EDGES = np.linspace(0.5, 1, BINS + 1)
DRAWS = 1000  # of errors_if_calibrated


@dataclass(frozen=True)
class ReliabilityBin:
    """The pairs with a confidence from low to high, high excluded but for 1."""

    low: float
    high: float
    pairs: int
    confidence: float  # mean
    accuracy: float  # here a tie counts half: it favours neither response


@dataclass(frozen=True)
class Calibration:
    """Of P(chosen) = sigma(margin); lower is better for all three figures."""

    bins: tuple[ReliabilityBin, ...]  # those that have pairs
    expected_calibration_error: float  # mean over pairs of |accuracy - confidence| of their bin
    brier_score: float  # mean (1 - P)^2; 0.25 for a constant reward
    log_loss: float  # mean -log P, the regular Bradley-Terry loss; log 2 for a constant reward


def calibrate(margins: NDArray[np.float64]) -> Calibration:
    """Calibration of [P] margins, chosen minus rejected reward, of any size.

    Confidence is that in the favoured response, max(P, 1 - P), in [0.5, 1]: which of the two is called chosen in the
    file then changes nothing but whether the confidence was right (Guo et al., "On Calibration of Modern Neural
    Networks", 2017, with bins of equal width).
    """
    confidence, right = confidence_and_outcome(margins)
    bins = _bins(confidence, right)
    off = sum(each.pairs * abs(each.accuracy - each.confidence) for each in bins)
    return Calibration(
        bins=bins,
        expected_calibration_error=off / len(margins),
        brier_score=float(np.square(np.exp(-np.logaddexp(0, margins))).mean()),
        log_loss=float(np.logaddexp(0, -margins).mean()),
    )


def confidence_and_outcome(margins: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[P] sigma(|margin|), 0.5 to 1, and [P] whether the favoured response was the chosen one: 1, 0, or 0.5 of a tie,
    which favours neither."""
    return confidence_of(margins), (np.sign(margins) + 1) / 2


def confidence_of(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """[P] sigma(|margin|), 0.5 to 1."""
    return np.exp(-np.logaddexp(0, -np.abs(margins)))


def errors_if_calibrated(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """[DRAWS] expected calibration errors on [P] margins of models that are right as often as they claim.

    The distances of bins have no sign, so chance alone gives an error, and a larger one to fewer pairs: how large, tell
    outcomes that are drawn with the claimed probabilities (Bröcker and Smith, "Increasing the Reliability of
    Reliability Diagrams", 2007). Pairs are drawn as independent, also those of one prompt.
    """
    confidence, generator = confidence_of(margins), np.random.default_rng(SEED)
    number, ties = _numbers(confidence), margins == 0
    errors = np.empty(DRAWS)
    for draw in range(DRAWS):
        right = np.where(ties, 0.5, generator.random(len(margins)) < confidence)
        errors[draw] = np.abs(np.bincount(number, weights=right - confidence)).sum() / len(margins)
    return errors


def _numbers(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """[P] the bin of each, from 0."""
    return np.searchsorted(EDGES[1:-1], confidence, side="right")


def _bins(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[ReliabilityBin, ...]:
    number = _numbers(confidence)
    bins: list[ReliabilityBin] = []
    for index in np.unique(number).tolist():
        inside = number == index
        means = float(confidence[inside].mean()), float(right[inside].mean())
        bins.append(ReliabilityBin(float(EDGES[index]), float(EDGES[index + 1]), int(inside.sum()), *means))
    return tuple(bins)
