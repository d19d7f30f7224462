"""What a folder of rows says of its files: the manifest that `hs2pref data prepare` writes, read in one way."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nemo_hs2pref.data.preparation.output import MANIFEST
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.files import sha256

MEND = "prepare the data again, or move this file away: without a manifest the rows are read as they are"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """None where the folder has none. Raises DataError for one that does not name files under "outputs"."""
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise DataError(f"{file}: is broken ({error}); {MEND}") from None
    outputs = manifest.get("outputs") if isinstance(manifest, dict) else None
    if not isinstance(outputs, dict) or not all(isinstance(about, dict) for about in outputs.values()):
        raise DataError(
            f'{file}: is no manifest of `hs2pref data prepare`, which names the folder\'s files under "outputs"; {MEND}'
        )
    return manifest


def outputs_of(folder: Path) -> dict[str, Mapping[str, Any]]:
    """File name -> what the manifest says of it; empty where there is no manifest. Raises as read_manifest."""
    manifest = read_manifest(folder)
    return manifest["outputs"] if manifest else {}


def hashes_of(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Name -> SHA-256 of every file that the manifest names, and of `files` that it does not."""
    hashes = {name: about["sha256"] for name, about in outputs_of(folder).items() if "sha256" in about}
    return hashes | {file.name: sha256(file) for file in files if file.name not in hashes}
