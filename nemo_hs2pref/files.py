"""Files of every room: hashed, and replaced whole, so that a reader never finds one half written."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nemo_hs2pref.errors import HS2PrefError, kind_of

BLOCK_BYTES = 2**20


def sha256(*paths: Path) -> str:
    """Hex digest of a file's bytes, as a manifest names the file it was made of; of several, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def write_json(path: str | Path, value: Mapping[str, Any], error: type[HS2PrefError] = HS2PrefError) -> None:
    """Write one indented JSON document; the file appears when it is complete."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    with replacing(Path(path), error) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path, error: type[HS2PrefError] = HS2PrefError) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place at the end, or vanishes when the block fails.

    What the system refuses, as a full disk, is an `error`: the class of what the file is part of, where it has one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as refusal:
        raise kind_of(refusal, error)(f"{path}: cannot be written ({refusal.strerror or refusal})") from None
    finally:
        temporary.unlink(missing_ok=True)
