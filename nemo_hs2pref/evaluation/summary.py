"""summary.json as `hs2pref evaluate` writes it: the keys that are read again, by type. Others are shown as they are."""

from pathlib import Path
from typing import Any, TypedDict

from nemo_hs2pref.decode import from_plain, parse_file
from nemo_hs2pref.errors import DataError, kind_of

Interval = list[float]
INTERVALS = ("interval", "accuracy_interval")


class Input(TypedDict, total=False):
    """What was evaluated on."""

    name: str | None
    sha256: str | None
    rows: int | None


class Identity(TypedDict):
    """The model that scored, see checkpoint.identity."""

    step: int | None
    weights: str


class Group(TypedDict, total=False):
    """Pairs of a subset."""

    pairs: int
    accuracy: float
    length_only_accuracy: float
    shorter_only_accuracy: float
    interval: Interval | None


class Domain(TypedDict, total=False):
    """Prompts of a domain of RewardBench 2."""

    prompts: int
    score: float | None
    interval: Interval | None
    length_only_score: float
    shorter_only_score: float


class Method(TypedDict, total=False):
    """How intervals were made."""

    method: str


class Counts(TypedDict):
    """Rows that were found, and those of the release."""

    found: int
    released: int


class Figures(TypedDict):
    """What every evaluation has."""

    benchmark: str
    pairs: int
    accuracy: float
    length_only_accuracy: float


class Summary(Figures, total=False):
    """What some have."""

    prompts: int | None
    ties: int
    left_out_long: int | None
    overall: float | None
    shorter_only_accuracy: float
    interval: Interval | None
    accuracy_interval: Interval | None
    intervals: Method | None
    input: Input | None
    model: str | None
    scores: str | None
    goodness: str | None
    checkpoint: Identity | None
    sections: dict[str, float | None] | None
    subsets: dict[str, Group] | None
    domains: dict[str, Domain] | None
    incomplete: dict[str, list[str]] | None
    unofficial_counts: dict[str, Counts] | None
    calibration: dict[str, Any] | None
    comparison: dict[str, Any] | None


def read_summary(path: Path) -> dict[str, Any] | None:
    """The summary where it is an evaluation's; None where it is something else's. DataError for what is neither."""
    try:
        summary = parse_file(path)
    except OSError as refusal:
        raise kind_of(refusal, DataError)(f"{path}: cannot be read ({refusal.strerror or refusal})") from None
    except ValueError as fault:
        raise DataError(f"{path}: {fault}; evaluate again, or remove the file") from None
    if not isinstance(summary, dict) or "benchmark" not in summary:
        return None
    try:
        known = from_plain(Summary, summary, path, DataError)
        groups = (known, *(known.get("subsets") or {}).values(), *(known.get("domains") or {}).values())
        if short := [key for group in groups for key in INTERVALS if len(group.get(key) or (0, 0)) != 2]:
            raise DataError(f"{path}: {short[0]!r} has not two ends")
    except DataError as fault:
        raise DataError(f"{fault}; evaluate again") from None
    return {str(key): value for key, value in summary.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] JSON
