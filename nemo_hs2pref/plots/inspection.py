"""The facts of a path as panels: a row a file, with its lengths, its strengths and its ratings."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from math import isqrt
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from nemo_hs2pref.data.inspection.facts import FileFacts
from nemo_hs2pref.data.inspection.reading import LONGER_SIDE
from nemo_hs2pref.data.inspection.tally import Lengths, Values
from nemo_hs2pref.files import replacing
from nemo_hs2pref.plots.statistics import FIRST, OF_RATING, PAPER, SECOND, STYLE

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator, PercentFormatter

FILES_SHOWN = 20  # a picture has no more than 65,536 pixels on a side
WIDTH, HEIGHT = 13.0, 3.4  # inches, of a row
MOST_BINS = 48
MOST_LEVELS = 10  # of a rating; a scale with more is no scale of steps, and has no panel
SMALLER: dict[Any, Any] = {
    **STYLE,
    "axes.titlepad": 6,
    "axes.titlesize": 9.5,
    "axes.titleweight": "normal",
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "font.size": 9,
    "legend.columnspacing": 1.2,
    "legend.fontsize": 8,
    "legend.handlelength": 1.2,
}
SHADES = LinearSegmentedColormap.from_list("ratings", OF_RATING)


def plot_inspection(files: Sequence[FileFacts], path: Path) -> bool:
    """Write the picture of the first 20 files that have rows of a known kind; whether there are any."""
    shown = [file for file in files if file.characters][:FILES_SHOWN]
    if not shown:
        return False
    with plt.rc_context(SMALLER):
        figure = plt.figure(figsize=(WIDTH, HEIGHT * len(shown)))
        blocks = figure.subfigures(len(shown), 1, squeeze=False, hspace=0.06)[:, 0]
        for block, facts in zip(blocks, shown, strict=True):
            _draw_file(block, facts)
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png")
        plt.close(figure)
    return True


def _draw_file(block: SubFigure, facts: FileFacts) -> None:
    block.suptitle(f"{facts.name}: {facts.rows:,} rows, {facts.kind}", fontsize=11, x=0.01, ha="left", weight="bold")
    panels: list[tuple[float, Callable[[plt.Axes, FileFacts], None]]] = [(1.5, _draw_lengths)]
    if facts.strengths:
        panels.append((1.0, _draw_strengths))
    if 0 < len(_levels(facts)) <= MOST_LEVELS:
        panels.append((1.5, _draw_ratings))
    if len(panels) == 1:
        panels.append((1.5, lambda axis, _: axis.set_axis_off()))  # a histogram is no clearer for being a foot wide
    axes = block.subplots(1, len(panels), squeeze=False, width_ratios=[width for width, _ in panels])[0]
    for axis, (_, draw) in zip(axes, panels, strict=True):
        draw(axis, facts)


def _draw_lengths(axis: plt.Axes, facts: FileFacts) -> None:
    """One histogram a text over a logarithmic axis, with its median: a bias towards long responses is visible."""
    unit, lengths = "characters", facts.characters
    if facts.tokens:
        unit, lengths = "tokens of the whole text", {**facts.tokens}
        lengths.pop(LONGER_SIDE, None)
    bins = _bins(list(lengths.values()))
    for (label, each), color in zip(lengths.items(), _colors(lengths), strict=False):
        values, rows = np.maximum(list(each.counts), 1), list(each.counts.values())
        median = each.quantile(0.5)
        axis.hist(values, bins, weights=rows, histtype="stepfilled", color=color, alpha=0.05 if color == PAPER else 0.2)
        axis.hist(values, bins, weights=rows, histtype="step", color=color, label=f"{label}, median {median:,}")
        axis.axvline(max(median, 1), color=color, linestyle=":", linewidth=1.2)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_title(f"length in {unit}")
    _count_rows(axis)
    _legend_below(axis, len(lengths))


def _bins(lengths: Sequence[Lengths]) -> list[float]:
    """Edges on a logarithmic scale, fewer where there are few rows."""
    shortest = max(min(min(each.counts) for each in lengths), 1)
    longest = max(max(each.max for each in lengths), shortest + 1)
    number = min(max(2 * isqrt(lengths[-1].number), 12), MOST_BINS)
    return [*np.geomspace(shortest, 1.01 * longest, number)]


def _draw_strengths(axis: plt.Axes, facts: FileFacts) -> None:
    """Rows of each strength, in the colour of the side that it prefers; below 0 that is response 1."""
    strengths = list(range(min(facts.strengths), max(facts.strengths) + 1))
    rows = [facts.strengths[strength] for strength in strengths]
    above = SECOND if strengths[0] < 0 else FIRST
    colors = [PAPER if strength == 0 else above if strength > 0 else FIRST for strength in strengths]
    bars = axis.bar(strengths, rows, color=colors, width=0.7, alpha=0.85)
    axis.bar_label(bars, [f"{100 * count / sum(rows):.0f}%" for count in rows], padding=2)
    axis.set_xticks(strengths)
    axis.margins(y=0.12)
    axis.set_title("strength" + (", below 0: response 1 is better" if strengths[0] < 0 else ""))
    _count_rows(axis)


def _draw_ratings(axis: plt.Axes, facts: FileFacts) -> None:
    """A bar an attribute and side, divided by the shares of its ratings, with the mean at its end."""
    levels, bars = _levels(facts), _bars(facts)
    places, reached = [place for place, _, _ in bars], np.zeros(len(bars))
    for level, color in zip(levels, SHADES(np.linspace(0, 1, len(levels))), strict=True):
        shares = np.array([values.counts[level] / values.number for _, _, values in bars])
        axis.barh(places, shares, left=reached, color=color, height=0.86, label=str(level))
        reached += shares
    for place, _, values in bars:
        axis.text(1.015, place, f"{values.mean:.2f}", va="center")
    axis.set_yticks(places, [title for _, title, _ in bars])
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.spines["left"].set_visible(False)
    axis.tick_params(left=False)
    axis.set_title("ratings: shares and mean")
    _legend_below(axis, len(levels))


def _bars(facts: FileFacts) -> list[tuple[float, str, Values]]:
    """(place from the top, title, ratings) of each bar; those of one attribute are neighbours."""
    names = list(dict.fromkeys(name for rated in facts.ratings.values() for name in rated))
    sides = len(facts.ratings)
    return [
        (row * (sides + 0.5) + number, label if number else f"{name}, {label}" if sides > 1 else name, rated[name])
        for row, name in enumerate(names)
        for number, (label, rated) in enumerate(facts.ratings.items())
        if name in rated
    ]


def _levels(facts: FileFacts) -> list[int]:
    """All that were given, rounded."""
    values = [each for rated in facts.ratings.values() for each in rated.values()]
    return sorted({level for each in values for level in each.counts})


def _colors(lengths: Mapping[str, Lengths]) -> list[str]:
    """Grey for the prompt of responses, then one colour a side."""
    sides = cycle((FIRST, SECOND))
    return [PAPER if label == "prompt" and len(lengths) > 1 else next(sides) for label in lengths]


def _count_rows(axis: plt.Axes) -> None:
    axis.set_ylabel("rows")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.yaxis.set_major_formatter("{x:,.0f}")


def _legend_below(axis: plt.Axes, columns: int) -> None:
    axis.legend(ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.07))
