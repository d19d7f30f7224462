"""Reading what torch_dist stores as pickles without running what they say.

`.metadata` is a pickle, and a pickle can call any function while it is read. An index holds names, shapes and places
in files, so only the classes of those are let through. megatron-core adds the plans that it saved by, which nobody
reads: they become empty objects, and megatron-core itself need not be there.

`common.pt` is a pickle too. We never read it; megatron-core does, trusting both, when a model is built: so both are
read here first.
"""

import pickle
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import Metadata

from nemo_hs2pref.errors import CheckpointError

INDEX, COMMON = ".metadata", "common.pt"
PARTS = {
    "torch.distributed.checkpoint.metadata": {
        *("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties", "_MEM_FORMAT_ENCODING"),
        *("TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata"),
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo", "_StoragePrefix"},
    "torch.serialization": {"_get_layout"},  # its name to torch.strided
    "torch": {"Size"},
    "pathlib": {"PosixPath"},
    "pathlib._local": {"PosixPath"},  # since Python 3.13
    "collections": {"OrderedDict"},
}
PLANS = {
    "torch.distributed.checkpoint.planner": {"SavePlan", "WriteItem", "WriteItemType", "TensorWriteData"},
    "megatron.core.dist_checkpointing.strategies.torch": {"MCoreSavePlan"},
}


class Unread:
    """Stands where a plan was."""

    def __init__(self, *args: object) -> None: ...


class IndexUnpickler(pickle.Unpickler):
    """Knows what an index is made of, and refuses every other name."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if global_name in PARTS.get(module_name, ()):
            return super().find_class(module_name, global_name)
        if global_name in PLANS.get(module_name, ()):
            return Unread
        if module_name == "torch" and isinstance(getattr(torch, global_name, None), torch.dtype):
            return getattr(torch, global_name)
        raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which no index needs")


def read_metadata(folder: Path) -> Metadata:
    """The index of the torch_dist folder `folder`; raises CheckpointError where there is none that can be trusted."""
    file = folder / INDEX
    try:
        with file.open("rb") as stream:
            metadata = IndexUnpickler(stream).load()
    except FileNotFoundError:
        raise CheckpointError(f"{file}: not found; copy the checkpoint again, hidden files too") from None
    except Exception as error:  # a pickle that is cut short or altered raises whatever it meets
        raise CheckpointError(f"{file}: not an index of torch_dist ({error}); copy the checkpoint again") from error
    if not isinstance(metadata, Metadata):
        raise CheckpointError(f"{file}: holds {type(metadata).__name__}, expected an index of torch_dist")
    for place in metadata.storage_data.values():
        path = PurePosixPath(place.relative_path)
        if path.is_absolute() or ".." in path.parts:
            raise CheckpointError(f"{file}: names {place.relative_path}, outside of its folder; do not trust it")
    return metadata


def refuse_code(folder: Path) -> None:
    """Raise CheckpointError where megatron-core, reading the torch_dist folder `folder`, would run what is stored."""
    read_metadata(folder)
    file = folder / COMMON
    try:
        torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{file}: not found; copy the checkpoint again") from None
    except Exception as error:  # a pickle that is cut short or altered raises whatever it meets
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{file}: holds more than numbers and text ({reason}); do not trust it") from error
