"""Pictures of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

from nemo_hs2pref.files import replacing
from nemo_hs2pref.plots.statistics import STYLE
from nemo_hs2pref.run_metrics import METRICS, read_metrics, set_and_metric

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

Row = Mapping[str, Any]  # a line of metrics.jsonl
Curves = dict[str, list[tuple[int, float]]]  # label -> (step, value)

COLUMNS = 3
SMALLER: dict[Any, Any] = {**STYLE, "axes.titlepad": 8, "axes.titlesize": 10, "font.size": 9}

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
    with plt.rc_context(SMALLER):
        figure = plt.figure(figsize=(4.2 * COLUMNS, 3.1 * sum(heights)))
        blocks = figure.subfigures(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
        for block, (run, panels) in zip(blocks, found.items(), strict=True):
            if len(found) > 1:
                block.suptitle(plain(run))
            axes = block.subplots(max(-(-len(panels) // COLUMNS), 1), COLUMNS, squeeze=False)
            titles = iter(panels)
            for axis in axes.flat:
                title = next(titles, "")
                draw(axis, title, panels.get(title, {}), last_step(panels))
    return figure


def draw_runs_together(runs: Mapping[str, Sequence[Row]]) -> Figure:
    """One colour a run in each panel of TOGETHER that some run fills. runs: name -> lines of metrics.jsonl"""
    found = {name: panels_of(rows) for name, rows in runs.items()}
    filled = [title for title in TOGETHER if any(title in panels for panels in found.values())]
    lines = max(-(-len(filled) // COLUMNS), 1)
    with plt.rc_context(SMALLER):
        figure, axes = plt.subplots(lines, COLUMNS, squeeze=False, figsize=(4.2 * COLUMNS, 3.1 * lines + 0.4))
        titles = iter(filled)
        for axis in axes.flat:
            title = next(titles, "")
            curves = {name: main_curves(panels.get(title, {})) for name, panels in found.items()}
            draw_one_colour_a_run(axis, title, curves, max(map(last_step, found.values())))
        handles = [Line2D([], [], color=f"C{number}", label=plain(name)) for number, name in enumerate(found)]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def plain(name: str) -> str:
    """The name as matplotlib shows it: a dollar begins no formula."""
    return name.replace("$", r"\$")


def main_curves(curves: Curves) -> Curves:
    """Training, and of the validation sets the pairs, or else the first: what tells most of a run."""
    validation = sorted((name for name in curves if not name.startswith("train")), key=lambda name: name != "pairs")
    return {name: curves[name] for name in ("train", *validation[:1]) if name in curves}


def last_step(panels: Mapping[str, Curves]) -> int:
    return max((step for curves in panels.values() for points in curves.values() for step, _ in points), default=1)


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


def draw(axis: plt.Axes, title: str, curves: Curves, last_step: int) -> None:
    """Each curve in its own colour; a place without a panel stays empty."""
    if not curves:
        axis.axis("off")
        return
    for number, (label, points) in enumerate(curves.items()):
        draw_curve(axis, label, points, f"C{number}")
    finish(axis, title, last_step)
    axis.legend(fontsize=7)


def draw_one_colour_a_run(axis: plt.Axes, title: str, runs: Mapping[str, Curves], last_step: int) -> None:
    """The same in the colours of the runs; the figure has the legend."""
    if not title:
        axis.axis("off")
        return
    for number, curves in enumerate(runs.values()):
        for label, points in curves.items():
            draw_curve(axis, label, points, f"C{number}")
    finish(axis, title, last_step)


def draw_curve(axis: plt.Axes, label: str, points: Sequence[tuple[int, float]], colour: str) -> None:
    """Training as a line, validation as points joined by a line."""
    style, width = ("-", 0.9) if label.startswith("train") else ("o-", 1.5)
    axis.plot(*zip(*points, strict=True), style, label=plain(label), markersize=4, linewidth=width, color=colour)


def finish(axis: plt.Axes, title: str, last_step: int) -> None:
    axis.set_title(title)
    axis.set_xlabel("optimizer step", fontsize=8)
    axis.set_xlim(0, 1.04 * last_step)
    axis.yaxis.set_major_formatter("{x:.4g}")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
