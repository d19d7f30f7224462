"""metrics.jsonl of a run's folder, a line a step and kind, which the run's log writes and pictures and reports read.

    {"kind": "train", "step": n, "<metric>": value, ...}
    {"kind": "val", "step": n, "val_<set>_<metric>": value, ...}

The name of a set has no underscore.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_hs2pref.decode import from_plain, parse
from nemo_hs2pref.errors import DataError, HS2PrefError, kind_of
from nemo_hs2pref.files import replacing

METRICS = "metrics.jsonl"
Row = dict[str, Any]


@dataclass(frozen=True)
class Keys:
    """What every line has."""

    kind: str
    step: int


@dataclass(frozen=True)
class Lost:
    """What of metrics.jsonl is not there."""

    cut: int  # lines at its end that a kill or a crash has cut short
    steps: list[int]  # of training, without their line


def read_metrics(path: Path) -> list[Row]:
    """The lines of metrics.jsonl without what a kill cut short at its end; DataError names any other bad line."""
    return [row for _, row in read_lines(path)]


def read_lines(path: Path) -> list[tuple[bytes, Row]]:
    """(the line as it stands, what is in it)."""
    read: list[tuple[bytes, Row]] = []
    bad: DataError | None = None
    for number, line in enumerate(raw_lines(path), start=1):
        try:
            row = parsed(line)
        except ValueError as fault:
            bad = bad or DataError(
                f"{path}:{number}: {fault}; remove the line, or move the file away: checkpoints do not rest on it"
            )
            continue
        if bad is not None:  # a kill cuts the last line, and a crash some before it
            raise bad
        read.append((line, row))
    return read


def raw_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise kind_of(error, DataError)(f"{path}: cannot be read ({error.strerror or error})") from None


def parsed(line: bytes) -> Row:
    """Raises ValueError for a line that is none of ours."""
    row = parse(line)
    try:
        from_plain(Keys, row, "")
    except HS2PrefError as fault:
        raise ValueError(str(fault).removeprefix(": ")) from None
    assert isinstance(row, dict)
    return row


def cut_after(path: Path, step: int) -> Lost:
    """Drop the lines after `step`, which the resumed run writes again; what is missing up to it."""
    lines, found = read_lines(path), len(raw_lines(path))
    kept = [(line, row) for line, row in lines if row["step"] <= step]
    if path.exists():
        with replacing(path, DataError) as temporary, temporary.open("wb") as file:
            file.write(b"".join(line + b"\n" for line, _ in kept))
            file.flush()
            os.fsync(file.fileno())  # or a crash may leave the new name without the lines
    there = {row["step"] for _, row in kept if row["kind"] == "train"}
    return Lost(found - len(lines), [each for each in range(1, step + 1) if each not in there])


def by_set(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """val_<set>_<metric> by set."""
    sets: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        name, metric = set_and_metric(key)
        sets.setdefault(name, {})[metric] = value
    return sets


def set_and_metric(key: str) -> tuple[str, str]:
    """("pairs", "reward_mean") of "val_pairs_reward_mean"."""
    name, _, metric = key.removeprefix("val_").partition("_")
    return name, metric
