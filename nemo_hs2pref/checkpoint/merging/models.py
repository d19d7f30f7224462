"""Opening models that are to be merged: checkpoints of ours or Hugging Face folders, all of one kind and one shape."""

from collections.abc import Sequence
from pathlib import Path

from nemo_hs2pref.checkpoint.layout import is_hugging_face
from nemo_hs2pref.checkpoint.merging.hugging_face import HFCheckpoint
from nemo_hs2pref.checkpoint.merging.model import Model
from nemo_hs2pref.checkpoint.merging.nemo import NemoCheckpoint
from nemo_hs2pref.errors import CheckpointError


def open_models(paths: Sequence[Path]) -> list[Model]:
    """Models that can be combined; raises CheckpointError naming the first setting or tensor in which they differ."""
    kinds: list[type[HFCheckpoint] | type[NemoCheckpoint]]
    kinds = [HFCheckpoint if is_hugging_face(path) else NemoCheckpoint for path in paths]
    for kind, path in zip(kinds, paths, strict=True):
        if kind is not kinds[0] and path.exists():
            raise CheckpointError(
                f"{paths[0]} is a {kinds[0].kind} and {path} a {kind.kind}; convert one of them with hs2pref convert"
            )
    models: list[Model] = [kind(path) for kind, path in zip(kinds, paths, strict=True)]
    for other in models[1:]:
        refuse_other_settings(models[0], other)
        refuse_other_tensors(models[0], other)
    return models


def refuse_other_settings(first: Model, other: Model) -> None:
    for key in sorted(first.settings.keys() | other.settings.keys()):
        values = first.settings.get(key), other.settings.get(key)
        if values[0] != values[1]:
            raise CheckpointError(
                f"{key} is {values[0]} in {first.path} and {values[1]} in {other.path}; they must be equal"
            )


def refuse_other_tensors(first: Model, other: Model) -> None:
    """Tensors of the same names, shapes and dtypes."""
    for name in sorted(first.entries.keys() | other.entries.keys()):
        found = first.entries.get(name), other.entries.get(name)
        if found[0] != found[1]:
            told = [f"{entry[1]} {list(entry[0])}" if entry else "nothing" for entry in found]
            raise CheckpointError(
                f"tensor {name} differs: {told[0]} in {first.path}, {told[1]} in {other.path}; "
                "one model must have been trained from the other, or all from one"
            )
