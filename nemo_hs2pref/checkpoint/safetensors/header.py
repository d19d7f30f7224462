"""What safetensors files say of themselves: names, dtypes, shapes and places, without reading the numbers.

The format is made for files of others: a length, that many bytes of JSON, and numbers. Nothing in it can be run.
"""

import json
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch

from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.files import refuse_unreadable

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
BYTES = {  # of one number, by the format's names
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}


MOST_BYTES = 100_000_000  # of a header; the format's own limit
MOST_DIMENSIONS = 8  # of a tensor


class TensorSpan(NamedTuple):
    """A tensor of a file: bytes `start` to `end` of it."""

    dtype: str  # the format's name
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(file: Path) -> dict[str, TensorSpan]:
    """The tensors of `file` in the order of their bytes.

    Raises CheckpointError where the header is broken or the file is not as long as its tensors.
    """
    refuse_unreadable(file, CheckpointError)
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            size = file.stat().st_size
            if not 0 < length <= min(size - 8, MOST_BYTES):
                raise ValueError(f"its header has {length} bytes and the file {size}")
            entries = json.loads(stream.read(length))
        if not all(isinstance(text, str) for text in entries.get("__metadata__", {}).values()):
            raise ValueError("its metadata are not texts by their names")
        spans = {name: span_of(entry, 8 + length) for name, entry in entries.items() if name != "__metadata__"}
        ordered = dict(sorted(spans.items(), key=lambda item: item[1].start))
        end = 8 + length
        for name, span in ordered.items():
            if span.start != end or span.end - span.start != prod(span.shape) * BYTES[span.dtype]:
                raise ValueError(f"{name} is not where its header puts it")
            end = span.end
        if end != size:
            raise ValueError(f"it has {size} bytes, its tensors end at {end}")
    except FileNotFoundError:
        raise CheckpointError(f"{file}: not found; copy or download it again") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{file}: no whole safetensors file ({error}); copy or download it again") from None
    return ordered


def span_of(entry: dict[str, Any], offset: int) -> TensorSpan:
    """A thousand sizes of twenty digits would make a product that takes minutes."""
    shape, (start, end) = entry["shape"], entry["data_offsets"]
    if len(shape) > MOST_DIMENSIONS or not all(
        type(size) is int and 0 <= size < 2**63 for size in (*shape, start, end)
    ):
        raise ValueError(f"a shape of {shape!s:.40} at bytes {start!s:.20} to {end!s:.20}")
    return TensorSpan(str(entry["dtype"]), tuple(shape), offset + start, offset + end)
