"""The statistics of a data set as text, beside the papers' where the data set is theirs."""

from collections.abc import Mapping, Sequence
from typing import Any

from nemo_hs2pref.data.statistics.statistics import LENGTHS

Figures = tuple[float | None, float | None, float | None]
NO_FIGURES: Figures = (None, None, None)

# Mean, standard deviation, Pearson's R with helpfulness: HelpSteer2, arXiv 2406.08673, the table of its statistics.
PAPER_RATINGS: dict[str, Figures] = {
    "helpfulness": (2.8655, 1.2703, 1.0),
    "correctness": (2.9644, 1.2689, 0.9430),
    "coherence": (3.6393, 0.6491, 0.4979),
    "complexity": (1.7048, 0.6986, 0.1805),
    "verbosity": (1.9999, 0.7571, 0.0600),
    "turns_in_prompt": (2.83, 3.82, -0.0520),
    "prompt_characters": (712.6, 877.8, -0.0774),
    "response_characters": (1492.6, 1065.7, 0.0845),
}
# Quadratic-weighted Cohen's kappa at first, before filtering, after it. The attributes': HelpSteer2, arXiv 2406.08673,
# where the second is "after guideline work". The preference's: HelpSteer2-Preference, arXiv 2410.01257, but second
# hand, from an overview of it.
PAPER_KAPPA: dict[str, tuple[float | None, float, float]] = {
    "preference": (None, 0.489, 0.878),
    "helpfulness": (0.465, 0.706, 0.791),
    "correctness": (0.472, 0.715, 0.793),
    "coherence": (0.169, 0.387, 0.428),
    "complexity": (0.293, 0.416, 0.427),
    "verbosity": (0.342, 0.536, 0.548),
}
# Pearson's R of preference and difference of helpfulness: HelpSteer2-Preference, arXiv 2410.01257.
PAPER_PEARSON = 0.9024
STRENGTH_NAMES = {
    "-3": "response 1 much better",
    "-2": "response 1 better",
    "-1": "response 1 slightly better",
    "1": "response 2 slightly better",
    "2": "response 2 better",
    "3": "response 2 much better",
}


def table(statistics: Mapping[str, Any], *, published: bool) -> str:
    """What Statistics.to_json gives as aligned text, in which "-" is what could not be computed.

    Args:
        statistics: of one data set.
        published: whether it is the papers' own, so that their figures are comparable and shown.
    """
    ratings, preferences, agreement = (statistics[name] for name in ("ratings", "preferences", "agreement"))
    parts = []
    if ratings["responses"]:
        parts.append(_ratings(ratings, published))
    if preferences["pairs"] or preferences["ties"]:
        parts.append(_preferences(preferences, published))
    if agreement["questions"]:
        parts.append(_agreement(agreement, published))
    return "\n\n".join(parts)


def _ratings(ratings: Mapping[str, Any], published: bool) -> str:
    rows = [[f"ratings of {ratings['responses']:,} responses", "mean", "std", "R with helpfulness"]]
    rows[0] += ["paper: mean", "std", "R"] if published else []
    for name, field in ratings["fields"].items():
        decimals = 2 if name in LENGTHS else 4
        shown: list[Figures] = [(field["mean"], field["std"], field["pearson"])]
        shown += [PAPER_RATINGS.get(name, NO_FIGURES)] if published else []
        cells = [
            _number(value, places) for of in shown for value, places in zip(of, (decimals, decimals, 4), strict=True)
        ]
        rows.append([name.replace("_", " "), *cells])
    return _aligned(rows)


def _preferences(pairs: Mapping[str, Any], published: bool) -> str:
    title = f"preferences of {pairs['pairs']:,} pairs, {pairs['ties']:,} ties left out"
    known = sum(pairs["strengths"].values())
    if not known:
        unsigned = pairs["strengths_without_position"]
        counts = ", ".join(f"{STRENGTH_NAMES[strength][11:]} {count:,}" for strength, count in unsigned.items())
        return f"{title}; {counts or 'no strengths'}; which response was the first is not known"
    rows = [[title, "pairs", "share", "mean helpfulness difference"]]
    for strength, count in pairs["strengths"].items():
        difference = _number(pairs["by_strength"][strength]["mean_difference"], 2)
        rows.append([STRENGTH_NAMES[strength], f"{count:,}", f"{count / known:.1%}", difference])
    summary = [
        ["mean strength, above 0 for response 2", _number(pairs["mean_strength"])],
        ["share for response 2", f"{pairs['share_for_response_2']:.1%}"],
        [f"mean helpfulness difference of {pairs['rated_pairs']:,} rated pairs", _number(pairs["mean_difference"])],
        ["R of strength and helpfulness difference", _number(pairs["pearson"])],
    ]
    if published:
        summary.append(["    in the paper", _number(PAPER_PEARSON)])
    return f"{_aligned(rows)}\n{_aligned(summary)}"


def _agreement(agreement: Mapping[str, Any], published: bool) -> str:
    rows = [["agreement", "panels", "dropped", "annotators", "kappa of all", "of the three"]]
    rows[0] += ["paper: at first", "before", "after filtering"] if published else []
    for name, found in agreement["questions"].items():
        panels = found["panels"]
        rows.append([name, f"{panels:,}", f"{1 - found['kept'] / panels:.1%}", f"{found['annotations'] / panels:.2f}"])
        kappas = (found["kappa_before"], found["kappa_after"])
        paper = PAPER_KAPPA.get(name, NO_FIGURES) if published else ()
        rows[-1] += [_number(kappa, 3) for kappa in (*kappas, *paper)]
    return "\n".join([_aligned(rows), *_notes(agreement, published)])


def _notes(agreement: Mapping[str, Any], published: bool) -> list[str]:
    notes = ["kappa: Cohen's with quadratic weights, all ordered pairs of annotators of a task pooled"]
    if agreement["kappa_by"] is None:
        notes = ["kappa: not computed, for scikit-learn is not installed (pip install scikit-learn)"]
    if published:
        notes.append("the paper's kappa of the preference is second hand")
    for name, found in agreement["questions"].items():
        same, different = found["released_same"], found["released_different"]
        if same or different:
            notes.append(f"{name} as released: {same:,} panels give the same result, {different:,} another")
    return notes


def _number(value: float | None, decimals: int = 4) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces apart; the first to the left, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)
    return "\n".join(lines)
