"""Writing megatron-core's distributed checkpoint format (torch_dist) piece by piece, without a model.

The format stores whole tensors under global names, so what one process writes here is read by any layout of tensor and
pipeline parallelism. A piece is read when it is written: memory holds one, not the model.

The folder is the one that megatron-core 0.11 writes: torch's `.metadata`, an index of the pieces, which lie one after
the other in `__*_0.distcp`, each as torch.save writes it; megatron-core's `common.pt` (nothing here) and
`metadata.json` (the last file, which marks the folder as complete). torch's own writer asks for the pieces of one
folder in its order; this one is handed them, so that several folders can be written from one pass over a model.
"""

import json
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import _StorageInfo  # pyright: ignore[reportPrivateUsage] part of the format
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from tqdm import tqdm

from nemo_hs2pref.checkpoint.pushed import Pushed, Writing
from nemo_hs2pref.checkpoint.torch_dist.index import BACKEND
from nemo_hs2pref.checkpoint.torch_dist.pieces import LAYER, Piece

FILE_BYTES = 5_000_000_000  # a file is closed when it has this many

# Modules for which a model may ask for an extra state. Transformer Engine keeps its FP8 scales there and accepts None
# for "no FP8 yet"; megatron-core's own layers always write None. A model that misses one refuses to load, one that
# finds too many does not mind: so these are the ones of both.
LAYER_EXTRA_STATES = (
    "self_attention.linear_qkv",
    "self_attention.core_attention",
    "self_attention.linear_proj",
    "mlp.linear_fc1",
    "mlp.linear_fc2",
)
FINAL_EXTRA_STATE = "model.decoder.final_layernorm"


def write_distributed(pieces: Sequence[Piece], folder: Path, num_layers: int) -> None:
    """Write `pieces`, which together make whole tensors, and empty extra states into the new folder `folder`."""
    write = Pushed(writing(pieces, folder, num_layers))
    for piece in tqdm(pieces, "writing", unit=" tensors", disable=None):
        write(piece.read())


def writing(pieces: Sequence[Piece], folder: Path, num_layers: int) -> Writing:
    """Generator form of `write_distributed`: send() each tensor in the order of `pieces`."""
    folder.mkdir()
    places: dict[MetadataIndex, _StorageInfo] = {}
    with synced_file(folder / "__0_0.distcp") as stream:
        for key in extra_states(num_layers):
            places[MetadataIndex(key)] = append([None], stream)  # as megatron-core saves None
    for i, file in enumerate(by_files(pieces), start=1):
        with synced_file(folder / f"__{i}_0.distcp") as stream:
            for piece in file:
                tensor = yield
                places[index_of(piece)] = append(alone(tensor.to(piece.dtype).reshape(piece.shape)), stream)
                del tensor  # not kept while the next one is made
    metadata = metadata_of(pieces, num_layers)
    metadata.storage_data = places
    with synced_file(folder / ".metadata") as stream:
        pickle.dump(metadata, stream)
    with synced_file(folder / "common.pt") as stream:
        torch.save({}, stream)
    (folder / "metadata.json").write_text(json.dumps(BACKEND))


@contextmanager
def synced_file(file: Path) -> Iterator[BinaryIO]:
    """A new file, which is on the disk when the block has ended."""
    with file.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def append(value: object, stream: BinaryIO) -> _StorageInfo:
    start = stream.tell()
    torch.save(value, stream)
    return _StorageInfo(Path(stream.name).name, start, stream.tell() - start)


def alone(tensor: Tensor) -> Tensor:
    """In memory of its own and in order: torch.save writes the whole memory that a tensor is a part of."""
    tensor = tensor.detach().contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def index_of(piece: Piece) -> MetadataIndex:
    return MetadataIndex(piece.key, torch.Size(piece.offset))


def chunk_of(piece: Piece) -> ChunkStorageMetadata:
    return ChunkStorageMetadata(torch.Size(piece.offset), torch.Size(piece.shape))


def by_files(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """The pieces in their order, cut into files."""
    file: list[Piece] = []
    size = 0
    for piece in pieces:
        if file and size + piece.bytes > FILE_BYTES:
            yield file
            file, size = [], 0
        file.append(piece)
        size += piece.bytes
    yield file


def metadata_of(pieces: Sequence[Piece], num_layers: int) -> Metadata:
    """What `.metadata` holds before the files' offsets: names, sizes and boxes."""
    entries: dict[str, TensorStorageMetadata | BytesStorageMetadata] = {}
    for piece in pieces:
        new = TensorStorageMetadata(TensorProperties(piece.dtype), torch.Size(piece.size), [])
        entry = cast(TensorStorageMetadata, entries.setdefault(piece.key, new))
        assert (entry.size, entry.properties.dtype) == (new.size, piece.dtype), f"pieces of {piece.key} disagree"
        entry.chunks.append(chunk_of(piece))
    for key, entry in entries.items():
        boxes = cast(TensorStorageMetadata, entry)
        assert sum(prod(chunk.sizes) for chunk in boxes.chunks) == prod(boxes.size), f"{key} is not whole"
    metadata = Metadata(dict(entries) | {key: BytesStorageMetadata() for key in extra_states(num_layers)})
    metadata.mcore_data = {key: {} for key in entries}  # pyright: ignore[reportAttributeAccessIssue] megatron-core's own
    return metadata


def extra_states(num_layers: int) -> list[str]:
    """Names of the extra states, one a layer and module, as megatron-core's ShardedObject spells them."""
    states = [
        f"{LAYER}{module}._extra_state/shard_{layer}_{num_layers}"
        for module in LAYER_EXTRA_STATES
        for layer in range(num_layers)
    ]
    return [*states, f"{FINAL_EXTRA_STATE}._extra_state/shard_0_1"]
