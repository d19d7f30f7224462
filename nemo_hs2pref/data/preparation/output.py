"""A folder that appears whole or not at all, and replaces only what an earlier run of the same kind wrote."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nemo_hs2pref.decode import parse_file
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.files import replace_folder

MANIFEST = "manifest.json"


def require_replaceable(out: Path, tool: str) -> None:
    """Refuse a folder with anything in it that `tool` did not write, by its manifest's "tool" and "outputs"."""
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out}: is a file; expected a folder, new or empty")
    if out.is_mount():
        raise DataError(f"{out}: is a mount point, which no finished folder can take the place of; name a folder in it")
    found = {path.name for path in out.iterdir()}
    foreign = found - _written_by(tool, out / MANIFEST)
    if foreign:
        shown = ", ".join(sorted(foreign)[:3]) + (" ..." if len(foreign) > 3 else "")
        raise DataError(f"{out}: holds {shown}, not written by `hs2pref {tool}`; choose a new folder or empty this one")


@contextmanager
def whole_folder(out: Path, tool: str) -> Iterator[Path]:
    """A temporary sibling of `out` to write into; it becomes `out` at the end, or vanishes when the block fails."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror or error})") from None
    try:
        temporary.chmod(0o777 & ~_umask())  # mkdtemp's is for its owner alone
        yield temporary
        require_replaceable(out, tool)  # again: the block may have taken minutes
        replace_folder(temporary, out, aside=temporary.with_suffix(".old"))
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _written_by(tool: str, manifest: Path) -> set[str]:
    """Names of the files that the manifest claims; empty where there is none, or another tool's."""
    try:
        content: Any = parse_file(manifest)
        return {MANIFEST, *content["outputs"]} if content["tool"] == tool else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()
