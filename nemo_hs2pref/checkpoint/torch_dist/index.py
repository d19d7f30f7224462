"""Reading what torch_dist stores as pickles without running what they say.

`.metadata` is a pickle, and a pickle can call any function while it is read. An index holds names, shapes and places
in files, so only the classes of those are let through, and each must be where an index has it. megatron-core adds the
plans that it saved by, which nobody reads: they become empty objects, and megatron-core itself need not be there.

`common.pt` is a pickle too. We never read it; megatron-core does when a model is built (checkpoint/megatron/reader.py).
`metadata.json` tells megatron-core which of its readers to take, and zarr's would unpickle what it finds.
"""

import pickle
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo  # pyright: ignore[reportPrivateUsage] part of the format
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorStorageMetadata,
)

from nemo_hs2pref.decode import parse_file
from nemo_hs2pref.errors import CheckpointError

INDEX, COMMON, FORMAT = ".metadata", "common.pt", "metadata.json"
BACKEND = {  # what FORMAT has to say
    "sharded_backend": "torch_dist",
    "sharded_backend_version": 1,
    "common_backend": "torch",
    "common_backend_version": 1,
}
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
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{file}: not an index of torch_dist ({reason}); copy the checkpoint again") from error
    if not isinstance(metadata, Metadata):
        raise CheckpointError(f"{file}: holds {type(metadata).__name__}, expected an index of torch_dist")
    try:
        is_index = all(map(is_entry, metadata.state_dict_metadata.items())) and all(
            map(is_place, metadata.storage_data.items())
        )
    except (AttributeError, TypeError):
        is_index = False
    if not is_index:
        raise CheckpointError(f"{file}: not an index of torch_dist (parts of other types); copy the checkpoint again")
    for place in metadata.storage_data.values():
        path = PurePosixPath(place.relative_path)
        if path.is_absolute() or ".." in path.parts:
            raise CheckpointError(f"{file}: names {place.relative_path}, outside of its folder; do not trust it")
    return metadata


def is_entry(item: tuple[object, object]) -> bool:
    """What is stored under a name: a tensor, or bytes, which nobody reads."""
    name, entry = item
    if isinstance(entry, TensorStorageMetadata):
        whole = type(entry.size) is torch.Size and is_dtype(entry.properties.dtype)
        return type(name) is str and whole and all(map(is_box, entry.chunks))
    return type(name) is str and type(entry) is BytesStorageMetadata


def is_box(chunk: object) -> bool:
    return isinstance(chunk, ChunkStorageMetadata) and type(chunk.offsets) is type(chunk.sizes) is torch.Size


def is_dtype(found: object) -> bool:
    return isinstance(found, torch.dtype)


def is_place(item: tuple[object, object]) -> bool:
    """Where a piece lies in a file, as it is: torch knows transforms, of which no version of ours writes any."""
    index, place = item
    if not (isinstance(index, MetadataIndex) and type(index.fqn) is str and isinstance(place, _StorageInfo)):
        return False
    numbers = all(type(number) is int and number >= 0 for number in (place.offset, place.length))
    return numbers and type(place.relative_path) is str and not getattr(place, "transform_descriptors", None)


def refuse_other_formats(folder: Path, called: Path | None = None) -> None:
    """Raise CheckpointError unless `folder` is torch_dist; older NeMo wrote zarr, or one file a rank.

    called: what a user knows it by, where it was unpacked.
    """
    file = (called or folder) / FORMAT
    try:
        written: Any = parse_file(folder / FORMAT)
        backend = BACKEND | written
    except FileNotFoundError:
        raise CheckpointError(
            f"{file}: not found; the copy is incomplete, or the weights are one file a rank, which NeMo has to load "
            "and save once in its distributed format"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{file}: not the JSON object of megatron-core ({error}); copy it again") from None
    if backend != BACKEND or "sharded_backend" not in written:
        stored = written.get("sharded_backend")
        raise CheckpointError(
            f"{file}: weights are stored as {stored if stored != 'torch_dist' else 'another version of torch_dist'}; "
            "load and save them once in NeMo with model.dist_ckpt_format=torch_dist"
        )


def refuse_code(folder: Path) -> None:
    """Raise CheckpointError where the torch_dist folder `folder` holds more than tensors, numbers and text.

    What megatron-core would do about it is another error, or none: it takes what it is told to be zarr for zarr.
    """
    refuse_other_formats(folder)
    read_metadata(folder)
    load_plain(folder / COMMON)


def load_plain(file: Path) -> Any:
    """What torch.save wrote, of tensors, numbers and text alone; raises CheckpointError."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{file}: not found; copy the checkpoint again") from None
    except Exception as error:  # a pickle that is cut short or altered raises whatever it meets
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{file}: holds more than numbers and text ({reason}); do not trust it") from error
