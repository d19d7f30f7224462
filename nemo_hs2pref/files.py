"""Files and folders: read as JSON, hashed, and replaced whole, so that a reader never finds one half written."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nemo_hs2pref.decode import parse_file
from nemo_hs2pref.errors import HS2PrefError, kind_of

BLOCK_BYTES = 2**20
POINTER = b"version https://git-lfs.github.com/"  # how the file begins that Git LFS puts in the place of a large one


def sha256(*paths: Path) -> str:
    """Hex digest of a file's bytes, as a manifest names the file it was made of; of several, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def read_json(path: Path, error: type[HS2PrefError]) -> dict[str, Any]:
    """The JSON object in a file of others; an `error` of one sentence for whatever else is there."""
    refuse_unreadable(path, error)
    try:
        value = parse_file(path)
    except ValueError as fault:
        raise error(f"{path}: {fault}; copy or download it again") from None
    if not isinstance(value, dict):
        raise error(f"{path}: not a JSON object (but a {type(value).__name__}); copy or download it again")
    return {str(key): part for key, part in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] JSON


def refuse_unreadable(path: Path, error: type[HS2PrefError]) -> None:
    """Raise `error` where there is no file, one that cannot be opened, or Git LFS's pointer to one."""
    if path.is_dir():
        raise error(f"{path}: a folder, where a file is expected; copy or download the file again")
    try:
        with open(path, "rb") as stream:
            first = stream.read(len(POINTER))
    except FileNotFoundError:
        raise error(f"{path}: not found; copy or download it again") from None
    except OSError as refusal:
        raise kind_of(refusal, error)(f"{path}: cannot be read ({refusal.strerror or refusal})") from None
    if first == POINTER:
        raise error(f"{path}: a Git LFS pointer, not the file itself; fetch it with `git lfs pull`, or download it")


def write_json(path: str | Path, value: Mapping[str, Any], error: type[HS2PrefError] = HS2PrefError) -> None:
    """Write one indented JSON document; the file appears when it is complete."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    with replacing(Path(path), error) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path, error: type[HS2PrefError] = HS2PrefError) -> Iterator[Path]:
    """As `whole`; what the system refuses, as a full disk, is an `error`: the class of what the file is part of."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as temporary:
            yield temporary
    except OSError as refusal:
        raise kind_of(refusal, error)(f"{path}: cannot be written ({refusal.strerror or refusal})") from None


@contextmanager
def whole(path: Path, *, on_disk: bool = False) -> Iterator[Path]:
    """A temporary name beside the file `path` that takes its place at the end, or vanishes when the block fails.

    on_disk: wait for the disk before, or a crash may leave the new name without the data.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # several processes may write at once
    try:
        yield temporary
        if on_disk:
            sync_files([temporary])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(new: Path, old: Path, aside: Path) -> None:
    """Give the folder `new` the name of `old`, which may be there; at every moment one of them is whole, as `old` or
    as `aside`, on the disk too. What is at `aside` before is lost."""
    sync_folders(new)
    if old.exists():
        shutil.rmtree(aside, ignore_errors=True)
        old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        if aside.exists() and not old.exists():
            aside.rename(old)
        raise
    sync_folders(old.parent, deep=False)
    shutil.rmtree(aside, ignore_errors=True)


def sync_files(files: Iterable[Path]) -> None:
    """Wait until the content is on the disk: a node that crashes takes with it what it only held in memory.

    Of a shared file system only the machine that wrote a file can do so.
    """
    for file in files:
        _sync(file)


def sync_folders(folder: Path, *, deep: bool = True) -> None:
    """The same for the names in `folder`, and with `deep` in the folders below it."""
    for path in (folder, *folder.rglob("*")) if deep else (folder,):
        if path.is_dir():
            _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
