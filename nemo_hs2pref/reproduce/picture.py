"""The table as a picture: one line a row, one point a seed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

from nemo_hs2pref.evaluation.published import PUBLISHED
from nemo_hs2pref.files import replacing

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def plot_table(summary: Mapping[str, Any], path: Path) -> None:
    """Accuracies of the seeds, their mean with its interval, and what length alone reaches."""
    rows = summary["rows"]
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.42 * len(rows)))
    for height, result in enumerate(rows.values()):
        mean, (low, high) = result["accuracy"], result["interval"]
        axis.errorbar(100 * mean, height, xerr=[[100 * (mean - low)], [100 * (high - mean)]], fmt="ks", capsize=3)
        seeds = [100 * accuracy for accuracy in result["by_seed"].values()]
        axis.plot(seeds, [height] * len(seeds), "o", color="tab:blue", alpha=0.6, markersize=5)
    axis.axvline(
        100 * summary["length_only"]["accuracy"], linestyle="--", color="tab:red", label="longer response wins"
    )
    axis.plot([], [], "ks", label="mean, 95 % interval")
    axis.plot([], [], "o", color="tab:blue", alpha=0.6, label="one seed")
    axis.set_yticks(range(len(rows)), [PUBLISHED[row].model for row in rows])
    axis.invert_yaxis()
    axis.set_xlabel(f"accuracy on {summary['pairs']} held-out pairs, per cent")
    figure.legend(loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)
