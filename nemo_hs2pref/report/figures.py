"""Figures of a summary as tables, whatever groups it has: a mapping of groups is a table of groups.

Shares are stored as 0 to 1 and shown in per cent; an interval stands in brackets behind its figure.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from nemo_hs2pref.report.document import Block, Section, Table

Unit = Literal["share", "points", "number"]  # points: the difference of two shares, shown with its sign
# Of every figure of the evaluations' reports; one that is not here is a number.
UNITS: Mapping[str, Unit] = {
    **dict.fromkeys(("accuracy", "length_only_accuracy", "shorter_only_accuracy", "baseline_accuracy"), "share"),
    **dict.fromkeys(("ref_accuracy", "tied_accuracy", "preferred", "preferred_hard"), "share"),
    **dict.fromkeys(("score", "baseline_score", "length_only_score", "shorter_only_score"), "share"),
    **dict.fromkeys(("overall", "length_only_overall", "shorter_only_overall"), "share"),
    **dict.fromkeys(("confidence", "expected_calibration_error"), "share"),
    **dict.fromkeys(("gain_over_length", "difference"), "points"),
    **dict.fromkeys(("mse", "pearson", "margin", "mean_margin", "brier_score", "log_loss", "p_value"), "number"),
    **dict.fromkeys(("margin_strength_pearson", "margin_strength_spearman", "reward_length_correlation"), "number"),
}
OF_SHARES = {
    "sections",
    "length_only_sections",
    "shorter_only_sections",
    "bins",
}  # whatever stands under these is a share
MAIN = ("accuracy", "score", "difference")  # the figures of a group to which "interval" belongs
NAMES = {
    "length_only_accuracy": "longer response",
    "length_only_score": "longer response",
    "shorter_only_accuracy": "shorter response",
    "shorter_only_score": "shorter response",
    "gain_over_length": "gain over length, points",
    "difference": "difference, points",
    "by_length_difference": "By difference in length",
    "by_response_length": "By length of the longer response",
    "by_turns": "By turns of the user",
    "mse": "squared error",
    "pearson": "correlation",
    "reward_length_correlation": "correlation of reward and length",
    "margin_strength_pearson": "correlation of margin and strength",
    "margin_strength_spearman": "rank correlation of margin and strength",
    "expected_calibration_error": "calibration error",
    "brier_score": "Brier score",
    "ties_terms": "Terms of the score of Ties",
    "left_out": "pairs without a preference, left out",
    "equal_lengths": "pairs of equal length",
    "ties": "pairs with equal rewards, in the accuracy counted as wrong",
}


def tables(summary: Mapping[str, Any], skip: frozenset[str] = frozenset()) -> Iterator[Block]:
    """The single figures first, then a table for each mapping or list of groups, under its name."""
    kept = {key: value for key, value in summary.items() if key not in skip}
    single = cells(kept, "")
    if single:
        yield Table(("", ""), [(label(key), value) for key, value in single.items()])
    for key, value in kept.items():
        if not (key.startswith("by_") and is_one_of_all(value, summary.get("pairs"))):
            yield from of_groups(key, value)


def is_one_of_all(groups: Mapping[str, Any], pairs: int | None) -> bool:
    """One group with as many pairs as there are, which says what they say."""
    return len(groups) == 1 and all(group.get("pairs") == pairs for group in groups.values())


def of_groups(key: str, value: Any) -> Iterator[Section]:
    """The table of one value, where it is one: of groups, of named figures, or of a list of groups."""
    if isinstance(value, Mapping):
        groups = {str(name): group for name, group in value.items() if isinstance(group, Mapping)}
        if groups and len(groups) == len(value):
            yield Section(title(key), [group_table(groups, key)])
        elif value:
            inner = [*tables(value)] if not key_is_flat(value) else [named_table(value, key)]
            yield Section(title(key), inner)
    elif isinstance(value, Sequence) and value and all(isinstance(group, Mapping) for group in value):
        groups = {str(number): group for number, group in enumerate(value, start=1)}
        yield Section(title(key), [group_table(groups, key)])


def key_is_flat(value: Mapping[str, Any]) -> bool:
    return not any(isinstance(each, Mapping | list) for each in value.values())


def named_table(value: Mapping[str, Any], parent: str) -> Table:
    return Table(("", ""), [(label(key), cell) for key, cell in cells(value, parent).items()])


def group_table(groups: Mapping[str, Mapping[str, Any]], parent: str) -> Table:
    """A row a group, under its own name, a column for each figure that some group has."""
    rows = {name: cells(group, parent) for name, group in groups.items()}
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    header = ("", *map(label, columns))
    return Table(header, [(name, *(row.get(key, "-") for key in columns)) for name, row in rows.items()])


def cells(group: Mapping[str, Any], parent: str) -> dict[str, str]:
    """The figures of a group, each with its interval; what is not a figure is left out."""
    found: dict[str, str] = {}
    for key, value in group.items():
        if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
            continue
        interval = interval_of(group, key)
        found[key] = shown(key, value, parent) + (in_brackets(interval, unit_of(key, parent)) if interval else "")
    return found


def interval_of(group: Mapping[str, Any], key: str) -> Sequence[float] | None:
    """Of "gain" it is "gain_interval", of "length_only_accuracy" "length_only_interval", of MAIN "interval"."""
    names = [f"{key}_interval", key.replace("accuracy", "interval")] if "accuracy" in key else [f"{key}_interval"]
    if key in MAIN:
        names.append("interval")
    return next((group[name] for name in names if is_interval(group.get(name))), None)


def is_interval(value: Any) -> bool:
    """Two numbers; what stands in the place of one is not shown."""
    return isinstance(value, list | tuple) and [type(end) in (int, float) for end in value] == [True, True]  # pyright: ignore[reportUnknownVariableType] JSON


def in_brackets(interval: Sequence[float], unit: Unit) -> str:
    scale, digits = (1, 3) if unit == "number" else (100, 1)
    return f" [{', '.join(f'{scale * end:.{digits}f}' for end in interval)}]"


def shown(key: str, value: Any, parent: str = "") -> str:
    """A value in its unit."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    unit = unit_of(key, parent)
    if unit == "number":
        return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{100 * value:.1f} %" if unit == "share" else f"{100 * value:+.1f}"


def unit_of(key: str, parent: str = "") -> Unit:
    return "share" if parent in OF_SHARES else UNITS.get(key, "number")


def label(key: str) -> str:
    return NAMES.get(key, key.replace("_", " "))


def title(key: str) -> str:
    text = label(key)
    return text[0].upper() + text[1:]
