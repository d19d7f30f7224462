"""Mean and standard deviation of a checkpoint's rewards over a set of responses, stored with its weights.

A reward model fixes its rewards up to offset and scale only, so policies are trained on (reward - mean) / std over
HelpSteer2's responses (HelpSteer2, arXiv 2406.08673, PPO). The figures belong to these weights alone: they stand in
hs2pref.json, which every training run and extrapolation writes anew. NeMo-Aligner 0.7.0 has the pair in its server's
configuration, `model.reward_standardization`, and refuses it for regression models.

    {"rows": n, "input": {"name", "sha256"}, "reward": {"mean", "std"}, "attributes": {name: {"mean", "std"}}}
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.data.jsonl import sha256
from nemo_hs2pref.errors import CheckpointError, DataError

ROUNDING = 2.0**-23  # of float32, in which the head computes

Figures = Mapping[str, Any]
Row = dict[str, Any]  # {"id", "reward", "attributes": {name: value}}


def measure(rows: Sequence[Row]) -> Row:
    """{"rows", "reward", "attributes"} of at least two scored rows; std is the population's, all in float64.

    Raises DataError where a value is not finite, or where all values are equal and nothing could be divided by.
    """
    refuse_not_finite(rows)
    return {
        "rows": len(rows),
        "reward": moments("reward", [row["reward"] for row in rows]),
        "attributes": {
            name: moments(name, [row["attributes"][name] for row in rows]) for name in rows[0]["attributes"]
        },
    }


def moments(name: str, values: Sequence[float]) -> dict[str, float]:
    """{"mean", "std"}: sqrt(mean((x - mean)^2)), above what float32 rounding alone would give."""
    values_N = np.asarray(values, dtype=np.float64)
    mean, std = float(values_N.mean()), float(values_N.std())
    if std <= ROUNDING * np.abs(values_N).max():
        raise DataError(
            f"{name} is {mean:g} for all {len(values)} rows, so there is no std to divide by; "
            "use rows that differ, or train the model first"
        )
    return {"mean": mean, "std": std}


def refuse_not_finite(rows: Sequence[Row]) -> None:
    """A NaN would spread to every standardized reward."""
    broken = [row["id"] for row in rows if not np.isfinite([row["reward"], *row["attributes"].values()]).all()]
    if broken:
        raise DataError(
            f"{len(broken)} of {len(rows)} rows have a reward or attribute that is not finite, {broken[0]!r} first; "
            "the model's weights or the precision are broken"
        )


def standardized(row: Row, figures: Figures) -> Row:
    """The row with (x - mean) / std for its reward and each of its attributes; std is above 0, so ranks stay.

    The reward has its own figures: it is not the weighted sum of the standardized attributes.
    """

    def scaled(value: float, of: Mapping[str, float]) -> float:
        return (value - of["mean"]) / of["std"]

    attributes = {name: scaled(value, figures["attributes"][name]) for name, value in row["attributes"].items()}
    return row | {"reward": scaled(row["reward"], figures["reward"]), "attributes": attributes}


def store(path: Path, measured: Row, source: Path) -> None:
    """Put figures measured on the file `source` into the checkpoint at `path`, in place of those that it has."""
    figures = {"rows": measured["rows"], "input": {"name": str(source), "sha256": sha256(source)}, **measured}
    layout.write_manifest(path, opening.read_manifest(path) | {layout.STANDARDIZATION: figures})


def stored(path: Path) -> Figures:
    """The checkpoint's figures; raises CheckpointError where it has none."""
    opening.read_config(path)
    figures = opening.read_manifest(path).get(layout.STANDARDIZATION)
    if figures is None:
        raise CheckpointError(
            f"{path}: no mean and std are stored; measure them once with "
            f"`hs2pref standardize --model {path} --input ratings.train.jsonl`"
        )
    return figures
