"""Size and SHA-256 of every file of a checkpoint, written when it is saved: `hs2pref.files.json`.

    {"files": {"model_weights/__0_0.distcp": {"bytes": 1234, "sha256": "..."}, ...}}

The one list serves checkpoints of ours and exported Hugging Face folders. Hashes are taken of the files as they lie
there, before the folder gets its name, several at once, since hashlib leaves Python free; what was just written is
mostly still in memory. In training each rank does so for the files that it wrote itself.
"""

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

from nemo_hs2pref.decode import from_file
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.files import replacing, sha256

FILE_LIST = "hs2pref.files.json"
THREADS = min(4, os.cpu_count() or 1)


class Listed(TypedDict):
    """What is known of a file."""

    bytes: int
    sha256: str


Files = dict[str, Listed]  # path in the folder, with slashes -> ...


class FileList(TypedDict):
    """The document."""

    files: Files


def files_in(folder: Path) -> list[Path]:
    """All files of the checkpoint but the list itself."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / FILE_LIST)


def describe(folder: Path, files: Iterable[Path]) -> Files:
    """Size and SHA-256 of `files`, which lie in `folder`."""
    files = list(files)
    with ThreadPoolExecutor(THREADS) as pool:
        hashes = list(pool.map(sha256, files))
    return {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": digest}
        for file, digest in zip(files, hashes, strict=True)
    }


def write_file_list(folder: Path, files: Mapping[str, Listed]) -> None:
    with replacing(folder / FILE_LIST, CheckpointError) as temporary:
        temporary.write_text(json.dumps({"files": dict(sorted(files.items()))}, indent=1) + "\n")


def read_file_list(folder: Path) -> Files | None:
    """None where nothing was recorded: a checkpoint of others, or from before there were lists."""
    file = folder / FILE_LIST
    if not file.is_file():
        return None
    try:
        return from_file(FileList, file, CheckpointError)["files"]
    except CheckpointError as error:
        raise CheckpointError(f"{error}; copy the checkpoint again") from None


def list_again(folder: Path, changed: Path) -> None:
    """Put a file that was rewritten on purpose into the folder's list, where it has one."""
    files = read_file_list(folder)
    if files is not None:
        write_file_list(folder, files | describe(folder, [changed]))
