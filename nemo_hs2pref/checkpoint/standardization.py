"""The mean and standard deviation of a checkpoint's rewards, stored with its weights.

The figures belong to these weights alone: they stand in hs2pref.json, of a Hugging Face folder in its config.json,
which every training run and extrapolation writes anew.

    {"rows": n, "input": {"name", "sha256"}, "reward": {"mean", "std"}, "attributes": {name: {"mean", "std"}}}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.file_list import list_again
from nemo_hs2pref.checkpoint.identity import EXPORTED, was_changed
from nemo_hs2pref.checkpoint.layout import HF_CONFIG, HF_KEY, OPENRLHF_FIGURES, STANDARDIZATION
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.files import sha256, write_json

Figures = Mapping[str, Any]


def store(path: Path, measured: Figures, source: Path) -> None:
    """Put figures measured on the file `source` into the checkpoint at `path`, in place of those that it has."""
    figures = {"rows": measured["rows"], "input": {"name": str(source), "sha256": sha256(source)}, **measured}
    if layout.is_hugging_face(path):
        config = layout.read_hugging_face_config(path)
        config[HF_KEY] = (config.get(HF_KEY) or {}) | {STANDARDIZATION: figures}
        if was_changed(path):  # it is no longer what was exported
            del config[HF_KEY][EXPORTED]
        config |= openrlhf_figures(config)
        write_json(path / HF_CONFIG, config, CheckpointError)
        list_again(path, path / HF_CONFIG)
    else:
        layout.write_manifest(path, opening.read_manifest(path) | {STANDARDIZATION: figures})


def stored(path: Path) -> Figures:
    """The checkpoint's figures; raises CheckpointError where it has none."""
    if layout.is_hugging_face(path):
        ours = layout.read_hugging_face_config(path).get(HF_KEY) or {}
        figures = None if was_changed(path) else ours.get(STANDARDIZATION)
    else:
        opening.read_config(path)
        figures = opening.read_manifest(path).get(STANDARDIZATION)
    if figures is None:
        raise CheckpointError(
            f"{path}: no mean and std of these weights are stored; measure them once with "
            f"`hs2pref standardize --model {path} --input ratings.train.jsonl`"
        )
    return figures


def openrlhf_figures(config: Mapping[str, Any]) -> dict[str, float]:
    """The keys of config.json from which OpenRLHF standardizes rewards: `mean` and `std`, at the top.

    It reads classifiers with one label. Its reward lacks a bias that their layout has no place for, so the mean does.
    """
    ours: Mapping[str, Any] = config.get(HF_KEY, {})
    figures = ours.get(STANDARDIZATION)
    is_the_reward = len(config.get("id2label", ())) == 1 and ours.get("reward_weights", [1.0]) == [1.0]
    if figures is None or not is_the_reward:
        return {}
    (bias,) = ours.get("dropped_bias", [0.0])
    return dict(zip(OPENRLHF_FIGURES, (figures["reward"]["mean"] - bias, figures["reward"]["std"]), strict=True))
