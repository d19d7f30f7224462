"""Pictures of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

from nemo_hs2pref.runtime.run_log import METRICS, read_metrics

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

PANELS = {"loss": "loss", "accuracy": "accuracy", "reward_mean": "mean reward", "grad_norm": "gradient norm"}


def plot_training(runs: Mapping[str, Path], path: Path) -> None:
    """One row a run, one column a metric that it logged; points on the line are validations."""
    figure, axes = plt.subplots(len(runs), len(PANELS), figsize=(4 * len(PANELS), 3 * len(runs)), squeeze=False)
    for row, (title, folder) in zip(axes, runs.items(), strict=True):
        rows = read_metrics(folder / METRICS)
        row[0].set_ylabel(title)
        for axis, (metric, label) in zip(row, PANELS.items(), strict=True):
            draw(axis, rows, metric)
            axis.set_title(label)
            axis.set_xlabel("optimizer step")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.tight_layout()
    temporary = path.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=120)
    plt.close(figure)
    temporary.replace(path)


def draw(axis: plt.Axes, rows: list[dict[str, Any]], metric: str) -> None:
    """Training as a line, validation as points; an empty panel says so."""
    train = [(row["step"], row[metric]) for row in rows if row["kind"] == "train" and metric in row]
    validation = [(row["step"], row[f"val_{metric}"]) for row in rows if f"val_{metric}" in row]
    if not train:
        axis.text(0.5, 0.5, "none with this loss", ha="center", va="center", transform=axis.transAxes)
        return
    axis.plot(*zip(*train, strict=True), label="train")
    if validation:
        axis.plot(*zip(*validation, strict=True), "o", label="validation")
        axis.legend()
