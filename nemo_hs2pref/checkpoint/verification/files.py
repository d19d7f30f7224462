"""One look at every byte of a checkpoint's files: hashes, torch's checksums, dtypes, shapes and finite values.

A file is read once, from front to back; memory holds two copies of its largest piece. Nothing in it is run: the
pieces of torch_dist are read with torch's `weights_only`, safetensors has nothing that could.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import torch
from torch import Tensor

from nemo_hs2pref.checkpoint.file_list import Listed
from nemo_hs2pref.checkpoint.safetensors.header import DTYPES, read_header
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.files import BLOCK_BYTES

NUMBERS = 2**22  # looked at together
Advance = Callable[[int], object]  # told of bytes that were read


class StoredRecord(NamedTuple):
    """A record of a torch_dist file by its index; shape None: no tensor."""

    name: str
    start: int
    length: int
    dtype: torch.dtype | None = None
    shape: tuple[int, ...] | None = None


class HashedReader:
    """A file from front to back, hashed on the way."""

    def __init__(self, stream: BinaryIO, advance: Advance) -> None:
        self.stream, self.advance = stream, advance
        self.digest, self.position = hashlib.sha256(), 0

    def read(self, length: int) -> bytes:
        data = self.stream.read(length)
        self.digest.update(data)
        self.position += len(data)
        self.advance(len(data))
        return data

    def skip_to(self, position: int) -> None:
        """Read on to `position`; negative: to the end."""
        while position < 0 or self.position < position:
            if not self.read(BLOCK_BYTES if position < 0 else min(BLOCK_BYTES, position - self.position)):
                return


Look = Callable[[HashedReader], Iterator[str]]  # reads a part of the file and tells what is wrong


def check_file(file: Path, listed: Listed | None, look: Look, advance: Advance) -> list[str]:
    """What is wrong with `file`, one sentence each, by what was listed of it at save and by `look`."""
    if file.is_dir():
        return ["a folder, where a file is expected"]
    if not file.is_file():
        return ["missing"]
    with file.open("rb") as stream:
        reader = HashedReader(stream, advance)
        problems = list(look(reader))
        reader.skip_to(-1)
    if listed and reader.position != listed["bytes"]:
        return [f"has {reader.position} bytes, was saved with {listed['bytes']}", *problems]
    if listed and (found := reader.digest.hexdigest()) != listed["sha256"]:
        return [f"SHA-256 is {found[:12]}..., was {listed['sha256'][:12]}... when it was saved", *problems]
    return problems


def look_at_nothing(reader: HashedReader) -> Iterator[str]:
    """A small file, of which the hash is all there is to compare."""
    yield from ()


def look_at_records(records: Sequence[StoredRecord]) -> Look:
    """Records of torch_dist: each is a zip archive, whose checksums torch itself does not compare when it loads."""

    def look(reader: HashedReader) -> Iterator[str]:
        for record in sorted(records, key=lambda record: record.start):
            reader.skip_to(record.start)
            content = reader.read(record.length)
            if len(content) < record.length:
                yield f"ends at byte {reader.position}; {record.name} ends at {record.start + record.length}"
                return
            if problem := archive_problem(content) or (record.shape is not None and tensor_problem(content, record)):
                yield f"{record.name}: {problem}"

    return look


def archive_problem(content: bytes) -> str | None:
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            broken = archive.testzip()
    except Exception as error:  # altered bytes can make zipfile fail anywhere
        return f"no record that torch wrote ({error})"
    return f"CRC-32 of {broken} differs" if broken else None


def tensor_problem(content: bytes, record: StoredRecord) -> str | None:
    try:
        tensor = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, torch and zipfile each raise their own
        return f"cannot be read ({str(error).splitlines()[0]})"
    found = (tensor.dtype, tuple(tensor.shape)) if isinstance(tensor, Tensor) else (type(tensor).__name__, ())
    if found != (record.dtype, record.shape):
        return f"is {found[0]} {list(found[1])}, the index says {record.dtype} {list(record.shape or ())}"
    return not_finite(strange_values(tensor))


def look_at_safetensors(file: Path, names: Sequence[str] | None) -> Look:
    """names: the tensors that the folder's index puts into the file; None: there is no index."""

    def look(reader: HashedReader) -> Iterator[str]:
        try:
            header = read_header(file)
        except CheckpointError as error:
            yield str(error).removeprefix(f"{file}: ")
            return
        if names is not None:
            yield from (f"lacks {name}, which the index puts here" for name in sorted(set(names) - header.keys()))
            yield from (f"has {name}, which the index does not put here" for name in sorted(header.keys() - set(names)))
        for name, span in header.items():
            reader.skip_to(span.start)
            count = 0
            while (left := span.end - reader.position) > 0 and (block := reader.read(min(left, BLOCK_BYTES))):
                if span.dtype in DTYPES:
                    count += strange_values(torch.frombuffer(bytearray(block), dtype=DTYPES[span.dtype]))
            if problem := not_finite(count):
                yield f"{name}: {problem}"

    return look


def strange_values(tensor: Tensor) -> int:
    """How many numbers are NaN or infinite."""
    if not tensor.is_floating_point():
        return 0
    blocks = tensor.reshape(-1).split(NUMBERS)
    return sum(int((~torch.isfinite(b.float() if b.element_size() == 1 else b)).sum()) for b in blocks)


def not_finite(count: int) -> str | None:
    return f"{count} values are not finite" if count else None
