"""Pictures of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

from nemo_hs2pref.runtime.run_log import METRICS, read_metrics, set_and_metric

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

Row = Mapping[str, Any]  # a line of metrics.jsonl
Curves = dict[str, list[tuple[int, float]]]  # label -> (step, value)

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


def plot_training(runs: Mapping[str, Path], path: Path) -> None:
    """One row a run, one column a panel that any of the runs fills; points on a line are validations."""
    rows = {title: read_metrics(folder / METRICS) for title, folder in runs.items()}
    panels = [title for title in PANELS if any(curves(of_run, title) for of_run in rows.values())]
    size = (3.6 * len(panels), 3 * len(rows) + 0.4)
    figure, axes = plt.subplots(len(rows), len(panels), figsize=size, squeeze=False)
    for line, (run, of_run) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(run)
        for axis, title in zip(line, panels, strict=True):
            draw(axis, curves(of_run, title))
            axis.set_title(title)
            axis.set_xlabel("optimizer step")
    figure.tight_layout()
    temporary = path.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=120)
    plt.close(figure)
    temporary.replace(path)


def curves(rows: Sequence[Row], title: str) -> Curves:
    """The curves of one panel: "train", "val pairs", and the metric's own name where a panel has several."""
    found: Curves = {}
    for row in rows:
        for key, value in row.items():
            if key in ("kind", "step"):
                continue
            where, metric = ("train", key) if row["kind"] == "train" else set_and_metric(key)
            where = where if row["kind"] == "train" else f"val {where}"
            label = label_of(metric, title)
            if label is not None:
                found.setdefault(f"{where} {label}".strip(), []).append((row["step"], value))
    return found


def label_of(metric: str, title: str) -> str | None:
    """What tells the metric from others in its panel; None where it is not in it."""
    for name in PANELS[title]:
        if metric == name:
            return ""
        if name.endswith("_") and metric.startswith(name):
            return metric.removeprefix(name)
    return None


def draw(axis: plt.Axes, found: Curves) -> None:
    """Training as lines, validation as points joined by a line; an empty panel says so."""
    if not found:
        axis.text(0.5, 0.5, "none in this run", ha="center", va="center", transform=axis.transAxes)
        return
    for label, points in found.items():
        axis.plot(*zip(*points, strict=True), "-" if label.startswith("train") else "o-", label=label, markersize=4)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=7)
