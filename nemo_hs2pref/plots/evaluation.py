"""Pictures of what a reward model did on pairs: calibration, margins, and what length has to do with them."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from numpy.typing import NDArray

from nemo_hs2pref.plots.statistics import FIRST, INK, PAPER, SECOND, STYLE

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

Floats = NDArray[np.float64]
SIZE = (5.6, 3.9)  # inches
BINS = 10  # at most, with about equally many pairs each
FEWEST = 8  # pairs of a bin
WIDTH_95 = 1.96  # standard deviations


def draw_reliability(claimed: Floats, right: Floats) -> Figure:
    """How often the preferred side is the chosen one, against what the margins claim.

    claimed: [P] sigma(|margin|); right: [P] 0 or 1, 0.5 of a tie, which prefers neither side.
    """
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=SIZE)
        axis.plot([0.5, 1], [0.5, 1], "--", color=PAPER, linewidth=1, label="calibrated")
        x, y, half = _binned(claimed, right)
        axis.errorbar(x, y, half, fmt="o-", color=FIRST, markersize=5, linewidth=1.2, label="this model, 95 %")
        axis.set_title("Reliability")
        axis.set_xlabel("claimed: sigma of the distance of the rewards")
        axis.set_ylabel("right")
        axis.set_xlim(0.49, 1.01)
        axis.set_ylim(min(0.3, *(y - half)) - 0.02, 1.02)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter(PercentFormatter(1))
        axis.legend(loc="upper left")
    return figure


def draw_margins(margins: Floats) -> Figure:
    """Histogram of chosen less rejected reward. margins: [P]"""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=SIZE)
        reach = max(float(np.abs(margins).max()), 1e-9)
        edges = np.linspace(-reach, reach, 2 * min(max(len(margins) // 20, 6), 25) + 1).tolist()  # 0 is an edge
        right = margins > 0
        axis.hist(margins[right], edges, color=FIRST, label=f"right: {right.mean():.1%}")
        axis.hist(margins[~right], edges, color=SECOND, label=f"wrong: {(~right).mean():.1%}")
        axis.axvline(0, color=INK, linewidth=0.8)
        axis.set_title("Margins")
        axis.set_xlabel("reward of the chosen less that of the rejected response")
        axis.set_ylabel("pairs")
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(loc="upper left")
    return figure


def draw_reward_by_length(lengths: NDArray[np.int64], rewards: Floats) -> Figure:
    """Every response, and the mean reward of equally many at a time. lengths, rewards: [P, 2], chosen and rejected"""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=SIZE)
        for column, color, label in ((1, SECOND, "rejected"), (0, FIRST, "chosen")):
            x, y = np.maximum(lengths[:, column], 1), rewards[:, column]
            axis.scatter(x, y, s=9, color=color, alpha=0.35, linewidths=0, rasterized=True, label=label)
        x, y, _ = _binned(np.log(np.maximum(lengths.ravel(), 1)), rewards.ravel())
        axis.plot(np.exp(x), y, "o-", color=INK, markersize=4, linewidth=1.5, label="mean")
        axis.set_xscale("log")
        axis.set_title("Reward and length")
        axis.set_xlabel("characters of the response")
        axis.set_ylabel("reward")
        axis.legend(loc="best", markerscale=1.6)
    return figure


def draw_accuracy_by_length(lengths: NDArray[np.int64], margins: Floats) -> Figure:
    """Accuracy by how much longer the chosen response is; flat where length does not matter. lengths: [P, 2]"""
    longer = lengths[:, 0] - lengths[:, 1]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=SIZE)
        x, y, half = _binned(longer.astype(float), (margins > 0).astype(float))
        axis.axhline(0.5, color=PAPER, linestyle="--", linewidth=1)
        axis.axvline(0, color=PAPER, linewidth=0.8)
        axis.errorbar(x, y, half, fmt="o-", color=FIRST, markersize=5, linewidth=1.2, label="accuracy, 95 %")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
        axis.xaxis.set_major_formatter("{x:+,.0f}")
        axis.set_title("Accuracy by difference in length")
        axis.set_xlabel("characters that the chosen response is longer")
        axis.set_ylabel("right")
        axis.set_ylim(-0.03, 1.03)
        axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.legend(loc="lower right")
    return figure


def _binned(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Means of x and y, and half the 95 % interval of y's mean, in bins of about equally many points, sorted by x.

    Equal x stay in one bin; a bin of values that are all equal gets the width of one that has one other value.
    """
    number = int(np.clip(len(x) // FEWEST, 1, BINS))
    edges = np.unique(np.quantile(x, np.linspace(0, 1, number + 1)[1:-1]))
    where = np.searchsorted(edges, x, side="right")
    groups: Sequence[NDArray[np.bool_]] = [where == bin for bin in np.unique(where)]
    means = [(x[group].mean(), y[group].mean(), _half_width(y[group])) for group in groups]
    x_means, y_means, half_widths = np.array(means).T
    return x_means, y_means, half_widths


def _half_width(values: Floats) -> float:
    padded = np.append(values, 1 - values[0]) if np.ptp(values) == 0 else values
    return float(WIDTH_95 * padded.std() / np.sqrt(len(padded)))
