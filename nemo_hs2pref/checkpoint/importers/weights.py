"""The index of a torch_dist folder written anew, so that its files can be read where they lie, under other names.

What torch and megatron-core unpickle without looking at it, .metadata and common.pt, is then our own; the tensors
themselves are read by torch.load with weights_only.
"""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from nemo_hs2pref.checkpoint.torch_dist.index import BACKEND, INDEX, read_metadata
from nemo_hs2pref.errors import CheckpointError

OURS = "model."  # how the names of a model's tensors begin
Shapes = dict[str, tuple[tuple[int, ...], torch.dtype]]  # tensor -> (global shape, dtype)


@dataclass(frozen=True)
class FileOffset:
    """Where a weight file's bytes begin: in the file at `path`, which may be an archive around it."""

    path: Path
    offset: int = 0


def view_weights(stored: Path, prefix: str, places: Mapping[str, FileOffset], folder: Path) -> Shapes:
    """Write `folder` as a torch_dist folder of the tensors whose names begin with `prefix`, there OURS.

    stored: the folder with the index. places: name of a weight file -> where it is.
    Optimizer states and extra states (Transformer Engine's FP8 scales) are left out.
    Raises CheckpointError for an index that cannot be trusted, or that names a file which is not among `places`.
    """
    found = read_metadata(stored)
    tensors = {
        name: entry
        for name, entry in found.state_dict_metadata.items()
        if name.startswith(prefix) and isinstance(entry, TensorStorageMetadata)
    }
    if missing := {info.relative_path for at, info in found.storage_data.items() if at.fqn in tensors} - places.keys():
        raise CheckpointError(f"{stored}: file {min(missing)} is not there; copy the checkpoint again")

    def own(name: str) -> str:
        return OURS + name.removeprefix(prefix)

    folder.mkdir()
    links = {path: f"__{i}_0.distcp" for i, path in enumerate(sorted({place.path for place in places.values()}))}
    for target, name in links.items():
        (folder / name).symlink_to(target)
    storage = {
        replace(at, fqn=own(at.fqn)): replace(
            info,
            relative_path=links[places[info.relative_path].path],
            offset=places[info.relative_path].offset + info.offset,
        )
        for at, info in found.storage_data.items()
        if at.fqn in tensors
    }
    entries: dict[str, Any] = {own(name): entry for name, entry in tensors.items()}
    mcore_data: Mapping[str, Any] = getattr(found, "mcore_data", {})
    metadata = Metadata(entries, storage_data=storage)
    metadata.mcore_data = {own(name): mcore_data.get(name, {}) for name in tensors}  # pyright: ignore[reportAttributeAccessIssue] megatron-core's own
    (folder / INDEX).write_bytes(pickle.dumps(metadata))
    torch.save({}, folder / "common.pt")
    (folder / "metadata.json").write_text(json.dumps(BACKEND))
    return {name: (tuple(entry.size), entry.properties.dtype) for name, entry in entries.items()}
