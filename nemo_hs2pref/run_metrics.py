"""metrics.jsonl of a run's folder, a line a step and kind, which the run's log writes and pictures and reports read.

    {"kind": "train", "step": n, "<metric>": value, ...}
    {"kind": "val", "step": n, "val_<set>_<metric>": value, ...}

The name of a set has no underscore.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; a line that a kill cut short is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    rows: list[dict[str, Any]] = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def cut_after(path: Path, step: int) -> None:
    """Drop the lines after `step`: the resumed run writes them again."""
    rows = [row for row in read_metrics(path) if row["step"] <= step]
    if path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
        temporary.replace(path)


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
