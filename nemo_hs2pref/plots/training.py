"""Pictures of a run."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import matplotlib

from nemo_hs2pref.data.jsonl import replacing
from nemo_hs2pref.runtime.run_log import METRICS, read_metrics, set_and_metric

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

Row = Mapping[str, Any]  # a line of metrics.jsonl
Curves = dict[str, list[tuple[int, float]]]  # label -> (step, value)

COLUMNS = 3

# title -> the metrics that it shows; a name that ends in _ stands for all that begin so
PANELS: dict[str, tuple[str, ...]] = {
    "loss": ("loss", "loss_"),
    "accuracy": ("accuracy",),
    "accuracy by strength": ("accuracy_strength_",),
    "correlation with the rating": ("pearson_",),
    "squared error": ("mse_",),
    "mean reward": ("reward_mean",),
    "reward, standard deviation": ("reward_std",),
    "correlation with length": ("reward_length_correlation",),
    "gradient norm": ("grad_norm",),
}


# those of them that have one curve a run, and are worth comparing
TOGETHER = ("loss", "accuracy", "mean reward", "reward, standard deviation", "correlation with length", "gradient norm")


def plot_training(runs: Mapping[str, Path], path: Path) -> None:
    """Write a block of panels for each run, those that it fills. runs: title -> folder"""
    figure = draw_training({title: read_metrics(folder / METRICS) for title, folder in runs.items()})
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)


def draw_training(runs: Mapping[str, Sequence[Row]]) -> Figure:
    """A block of panels for each run, those that it fills. runs: title -> lines of metrics.jsonl"""
    found = {title: panels_of(rows) for title, rows in runs.items()}
    heights = [max(-(-len(panels) // COLUMNS), 1) for panels in found.values()]
    figure = plt.figure(figsize=(4.2 * COLUMNS, 3.1 * sum(heights)), layout="constrained")
    blocks = figure.subfigures(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
    for block, (run, panels) in zip(blocks, found.items(), strict=True):
        block.suptitle(run)
        axes = block.subplots(max(-(-len(panels) // COLUMNS), 1), COLUMNS, squeeze=False)
        titles = iter(panels)
        last = max((step for curves in panels.values() for points in curves.values() for step, _ in points), default=1)
        for axis in axes.flat:
            title = next(titles, "")
            draw(axis, title, panels.get(title, {}), last)
    return figure


def draw_runs_together(runs: Mapping[str, Sequence[Row]]) -> Figure:
    """One line a run in each panel of TOGETHER that some run fills. runs: name -> lines of metrics.jsonl"""
    found = {name: panels_of(rows) for name, rows in runs.items()}
    panels = {title: {name: main_curve(of[title]) for name, of in found.items() if title in of} for title in TOGETHER}
    filled = {title: curves for title, curves in panels.items() if curves}
    lines = max(-(-len(filled) // COLUMNS), 1)
    figure, axes = plt.subplots(
        lines, COLUMNS, squeeze=False, figsize=(4.2 * COLUMNS, 3.1 * lines + 0.3), layout="constrained"
    )
    last = max((rows[-1]["step"] for rows in runs.values() if rows), default=1)
    colors = {name: f"C{number}" for number, name in enumerate(runs)}
    for axis, (title, curves) in zip_longest(axes.flat, filled.items(), fillvalue=("", {})):
        draw(axis, title, curves, last, colors)
    handles = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def main_curve(curves: Curves) -> list[tuple[int, float]]:
    """The one that tells most of a run: validation on pairs, other validation, training."""
    return curves[min(curves, key=lambda label: (label != "val pairs", label.startswith("train"), label))]


def panels_of(rows: Sequence[Row]) -> dict[str, Curves]:
    """The curves of each panel that has some: "train", "val pairs", and the metric where a panel has several.

    What is split by attribute or strength is too noisy in a training batch, so validation alone is shown of it.
    """
    panels: dict[str, Curves] = {title: {} for title in PANELS}
    for row in rows:
        for key in row.keys() - {"kind", "step"}:
            where, metric = ("train", key) if row["kind"] == "train" else set_and_metric(key)
            for title in PANELS:
                label = label_of(metric, title)
                if label is None or (where == "train" and label and title != "loss"):
                    continue
                name = " ".join(part for part in (where, label) if part)
                panels[title].setdefault(name, []).append((row["step"], row[key]))
    return {title: dict(sorted(curves.items())) for title, curves in panels.items() if curves}


def label_of(metric: str, title: str) -> str | None:
    """What tells the metric from others in its panel; None where it is not in it."""
    for name in PANELS[title]:
        if metric == name:
            return ""
        if name.endswith("_") and metric.startswith(name):
            return metric.removeprefix(name)
    return None


def draw(axis: plt.Axes, title: str, curves: Curves, last_step: int, colors: Mapping[str, str] | None = None) -> None:
    """Training as lines, validation as points joined by a line; a place without a panel stays empty.

    colors: by label, where a legend of the whole figure has them; else the panel has its own.
    """
    if not curves:
        axis.axis("off")
        return
    for label, points in curves.items():
        style = "-" if label.startswith("train") else "o-"
        axis.plot(*zip(*points, strict=True), style, label=label, markersize=3, color=colors and colors[label])
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("optimizer step", fontsize=8)
    axis.set_xlim(0, 1.04 * last_step)
    axis.yaxis.set_major_formatter("{x:.4g}")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if colors is None:
        axis.legend(fontsize=6)
