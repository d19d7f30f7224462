"""What has been written, on the disk: a node that crashes takes with it what it only held in memory.

Writers of large files do this themselves; asked once more, the system has nothing left to do.
"""

import os
from collections.abc import Iterable
from pathlib import Path


def sync_files(files: Iterable[Path]) -> None:
    """Wait until the content is on the disk. Of a shared file system only the machine that wrote a file can do so."""
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
