"""Pictures of a data set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

from nemo_hs2pref.data.statistics.table import PAPER_KAPPA
from nemo_hs2pref.files import replacing

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

FIRST, SECOND = "#3f6fae", "#d57a2d"  # response 1 is better, response 2 is
OF_RATING = ("#e3ecf2", "#b5cfdc", "#7fabc0", "#477f9b", "#1f5370")  # 0 to 4
DEGREES = ("slightly\nbetter", "better", "much\nbetter")
INK, PAPER = "#333333", "#9a9a9a"
STYLE: dict[Any, Any] = {  # settings of matplotlib
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 14,
    "axes.edgecolor": PAPER,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.2,
    "figure.constrained_layout.h_pad": 0.2,
    "font.size": 10,
    "legend.frameon": False,
}


def plot_statistics(statistics: Mapping[str, Any], path: Path, *, published: bool) -> bool:
    """Four panels of what Statistics.to_json gives: strengths, helpfulness by strength, ratings, agreement.

    Returns whether there is a picture: none is written where nothing is known.

    Args:
        statistics: of one data set; a panel of which nothing is known stays out.
        path: the picture, a PNG.
        published: whether the data set is the papers' own; then their kappas stand beside ours.
    """
    pairs, ratings, agreement = (statistics[name] for name in ("preferences", "ratings", "agreement"))
    rated = {name: field for name, field in ratings["fields"].items() if "counts" in field}
    questions = {name: found for name, found in agreement["questions"].items() if found["kappa_before"] is not None}
    if not (sum(pairs["strengths"].values()) or pairs["strengths_without_position"] or rated or questions):
        return False
    with plt.rc_context(STYLE):
        figure, ((strengths, differences), (attributes, kappas)) = plt.subplots(2, 2, figsize=(13, 9))
        if pairs["mean_strength"] is not None:
            _draw_strengths(strengths, pairs)
        elif pairs["strengths_without_position"]:
            _draw_unsigned(strengths, pairs["strengths_without_position"])
        else:
            strengths.axis("off")
        _draw_differences(differences, pairs) if pairs["rated_pairs"] else differences.axis("off")
        _draw_ratings(attributes, rated) if rated else attributes.axis("off")
        _draw_kappas(kappas, questions, published) if questions else kappas.axis("off")
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=120, format="png")
        plt.close(figure)
    return True


def _draw_unsigned(axis: plt.Axes, strengths: Mapping[str, int]) -> None:
    """How many pairs have each strength, where it is not known which response was the first."""
    total = sum(strengths.values())
    for strength in (1, 2, 3):
        count = strengths.get(str(strength), 0)
        axis.bar_label(axis.bar(strength, count, width=0.78, color=FIRST), [f"{count / total:.1%}"], padding=3)
    axis.set_title(f"Strengths of {total:,} pairs")
    axis.set_xticks((1, 2, 3), DEGREES)
    axis.set_ylabel("pairs")
    axis.margins(y=0.12)


def _draw_strengths(axis: plt.Axes, pairs: Mapping[str, Any]) -> None:
    """How many pairs have each signed strength; ties in the middle."""
    counts = {int(strength): count for strength, count in pairs["strengths"].items()}
    known = sum(counts.values())
    for strength, count in counts.items():
        bar = axis.bar(strength, count, width=0.78, color=SECOND if strength > 0 else FIRST)
        axis.bar_label(bar, [f"{count / known:.1%}"], padding=3)
    if pairs["ties"]:
        bar = axis.bar(0, pairs["ties"], width=0.78, color="white", edgecolor=PAPER, hatch="///", linewidth=0.8)
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axis.bar_label(bar, [f"{pairs['ties']:,}\nties"], label_type="center", fontsize=9, bbox=box)
    axis.set_title(f"Preferences: {pairs['share_for_response_2']:.1%} of {known:,} pairs are for response 2")
    axis.set_xticks(range(-3, 4), [*reversed(DEGREES), "left out", *DEGREES])
    axis.text(0, -0.2, "← response 1 is", transform=axis.transAxes, color=FIRST)
    axis.text(1, -0.2, "response 2 is →", transform=axis.transAxes, color=SECOND, ha="right")
    axis.set_ylabel("pairs")
    axis.margins(y=0.12)


def _draw_differences(axis: plt.Axes, pairs: Mapping[str, Any]) -> None:
    """Difference of helpfulness at each strength: a disc's area is its share of that strength's rated pairs."""
    means: dict[int, float] = {}
    for strength, found in pairs["by_strength"].items():
        if not found["counts"]:
            continue
        means[int(strength)] = found["mean_difference"]
        total, x = sum(found["counts"].values()), int(strength)
        values = [float(difference) for difference in found["counts"]]
        areas = [1500 * count / total for count in found["counts"].values()]
        axis.scatter([x] * len(values), values, areas, color=SECOND if x > 0 else FIRST, alpha=0.55, linewidths=0)
    axis.axhline(0, color=PAPER, linewidth=0.8, zorder=0)
    axis.plot(list(means), list(means.values()), "D-", color=INK, markersize=6, linewidth=1.2, label="mean")
    known = "" if pairs["pearson"] is None else f": R = {pairs['pearson']:.3f}"
    axis.set_title(f"Preference and helpfulness{known}")
    axis.set_xticks(range(-3, 4))
    axis.set_yticks(range(-4, 5))
    axis.set_xlim(-3.6, 3.6)
    axis.set_ylim(-4.7, 4.7)
    axis.set_xlabel("signed strength, above 0 for response 2")
    axis.set_ylabel("helpfulness of response 2 less response 1")
    axis.legend(loc="upper left")


def _draw_ratings(axis: plt.Axes, fields: Mapping[str, Any]) -> None:
    """The share of each rating, one bar an attribute."""
    starts = dict.fromkeys(fields, 0.0)
    for rating, color in enumerate(OF_RATING):
        shares = [field["counts"].get(str(rating), 0) / sum(field["counts"].values()) for field in fields.values()]
        bars = axis.barh(list(fields), shares, left=list(starts.values()), color=color, height=0.72, label=str(rating))
        texts = [f"{share:.0%}" if share >= 0.05 else "" for share in shares]
        axis.bar_label(bars, texts, label_type="center", fontsize=9, color="white" if rating > 2 else INK)
        starts = {name: start + share for (name, start), share in zip(starts.items(), shares, strict=True)}
    labels = [f"{name}\n{field['mean']:.2f} ± {field['std']:.2f}" for name, field in fields.items()]
    axis.set_yticks(range(len(fields)), labels)
    axis.set_title("Ratings: mean, standard deviation, shares")
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.spines["left"].set_visible(False)
    axis.tick_params(left=False)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=len(OF_RATING))


def _draw_kappas(axis: plt.Axes, questions: Mapping[str, Any], published: bool) -> None:
    """Kappa of all annotations (hollow), and of the three that are kept (filled)."""
    for height, (name, found) in enumerate(questions.items()):
        ours = [kappa for kappa in (found["kappa_before"], found["kappa_after"]) if kappa is not None]
        _dumbbell(axis, height, ours, "o", FIRST)
        if published and name in PAPER_KAPPA:
            _dumbbell(axis, height + 0.28, PAPER_KAPPA[name][1:], "d", PAPER)
    lowest = min(found["kappa_before"] for found in questions.values())
    axis.plot([], [], "o", color=FIRST, markerfacecolor="white", label="all annotations")
    axis.plot([], [], "o", color=FIRST, label="the three that are kept")
    if published:
        axis.plot([], [], "d", color=PAPER, label="the paper's")
    axis.set_title("Agreement: quadratic-weighted kappa")
    axis.set_yticks(range(len(questions)), list(questions))
    axis.set_ylim(len(questions) - 0.4, -0.6)
    axis.set_xlim(min(-0.03, lowest - 0.03), 1)
    axis.grid(axis="x", color="#eeeeee")
    axis.set_axisbelow(True)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3)


def _dumbbell(axis: plt.Axes, height: float, kappas: Sequence[float], marker: str, color: str) -> None:
    """Of all annotations, and of the kept ones where that is known."""
    size = 10 if marker == "o" else 6
    axis.plot(kappas, [height] * len(kappas), color=color, linewidth=2.5, alpha=0.35, zorder=1)
    for kappa, fill in zip(kappas, ("white", color), strict=False):
        axis.plot(kappa, height, marker, color=color, markerfacecolor=fill, markersize=size)
