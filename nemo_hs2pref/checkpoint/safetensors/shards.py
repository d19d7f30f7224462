"""Writing safetensors files tensor by tensor, as transformers shards them.

safetensors' own writer takes the tensors of a file all at once: 5 GB of memory. The format lets one begin with the
header, since shapes are known, and append each tensor as it comes: 8 bytes with the header's length, the header as
JSON, the numbers in C order and little endian. A test holds the files to be those that safetensors reads.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from nemo_hs2pref.checkpoint.pushed import Pushed, Writing
from nemo_hs2pref.checkpoint.safetensors.folder import INDEX, WHOLE

SHARD_BYTES = 5_000_000_000  # transformers' default
CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


class Entry(NamedTuple):
    """What a file says of one of its tensors."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def write_shards(entries: Mapping[str, Entry], tensors: Iterable[tuple[str, Tensor]], folder: Path) -> None:
    """Write `tensors`, which come in the order of `entries` and are cast to their dtypes, into `folder`."""
    write = Pushed(writing(entries, folder))
    for expected, (name, tensor) in zip(entries, tensors, strict=True):
        assert name == expected, f"{name} in the place of {expected}"
        write(tensor)


def writing(entries: Mapping[str, Entry], folder: Path) -> Writing:
    """Generator form of `write_shards`: send() each tensor in the order of `entries`."""
    shards = list(by_shards(entries))
    names = [file_name(i, len(shards)) for i in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        yield from writing_shard(shard, folder / name)
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(entry.bytes for entry in entries.values())},
            "weight_map": {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard},
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def by_shards(entries: Mapping[str, Entry]) -> Iterator[dict[str, Entry]]:
    """The entries in their order, cut where a file would grow beyond SHARD_BYTES."""
    shard: dict[str, Entry] = {}
    size = 0
    for name, entry in entries.items():
        if shard and size + entry.bytes > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = entry
        size += entry.bytes
    yield shard


def file_name(i: int, count: int) -> str:
    """As transformers names them."""
    return WHOLE if count == 1 else f"model-{i + 1:05d}-of-{count:05d}.safetensors"


def writing_shard(entries: Mapping[str, Entry], file: Path) -> Writing:
    with file.open("wb") as stream:
        stream.write(header(entries))
        for name, entry in entries.items():
            tensor = yield
            assert tuple(tensor.shape) == entry.shape, f"{name} is {tuple(tensor.shape)}, expected {entry.shape}"
            stream.write(content(tensor.to(entry.dtype)))
            del tensor  # not kept while the next one is made
        stream.flush()
        os.fsync(stream.fileno())


def header(entries: Mapping[str, Entry]) -> bytes:
    """Padded with spaces to a multiple of 8, so that the numbers are aligned."""
    places: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, entry in entries.items():
        start, end = end, end + entry.bytes
        places[name] = {"dtype": CODES[entry.dtype], "shape": entry.shape, "data_offsets": [start, end]}
    text = json.dumps(places, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def content(tensor: Tensor) -> memoryview:
    """The numbers, without a copy where they lie in order."""
    return tensor.contiguous().flatten().view(torch.uint8).numpy().data
