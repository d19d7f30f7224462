"""Checkpoints' manifests: what a model was trained on, and which models it was made of."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint.described import refuse_other_manifest
from nemo_hs2pref.checkpoint.layout import MANIFEST
from nemo_hs2pref.decode import from_file
from nemo_hs2pref.errors import DataError

CHECKPOINTS = (MANIFEST, f"*/{MANIFEST}", f"checkpoints/*/{MANIFEST}")  # of checkpoints' manifests, in a folder
Manifest = Mapping[str, Any]


def read_checkpoints(folder: Path) -> dict[str, dict[str, Any]]:
    """Manifests of the checkpoints, `last` first; those that are being written are left out."""
    paths = {path for pattern in CHECKPOINTS for path in folder.glob(pattern)}
    whole = [path for path in paths if path.parent.suffix not in (".incomplete", ".old")]
    whole.sort(key=lambda path: (path.parent.name != "last", str(path)))
    return {str(path.parent.relative_to(folder)): read_manifest(path) for path in whole}


def read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = from_file(dict[str, Any], path, DataError)
        refuse_other_manifest(manifest, path, DataError)
    except DataError as error:
        raise DataError(f"{error}; copy the checkpoint again") from None
    return manifest


def made_of(manifest: Manifest) -> str:
    """How a model that was not trained came to be, in words; empty where nothing tells."""
    if of := manifest.get("extrapolated"):
        return f"extrapolated from {of['weak']} through {of['strong']} with alpha {of['alpha']:g}"
    if of := manifest.get("averaged"):
        return "the average of " + ", ".join(f"{part['model']} (weight {part['weight']:g})" for part in of)
    if of := manifest.get("merged"):
        return f"the adapters {of['adapter']} merged into {of['base']}"
    return ""


def parts(manifest: Manifest) -> list[str]:
    """The models that it was made of or trained from, as they were named then."""
    extrapolated, merged = (manifest.get(key) or {} for key in ("extrapolated", "merged"))
    start = ((manifest.get("run") or {}).get("pretrained_checkpoint") or {}).get("restore_from_path")
    found = [start, extrapolated.get("weak"), extrapolated.get("strong"), merged.get("adapter"), merged.get("base")]
    return [place for place in (*found, *(part["model"] for part in manifest.get("averaged") or ())) if place]


def with_parts(manifest: Manifest, seen: frozenset[Path] = frozenset()) -> Iterator[Manifest]:
    """It, and the manifests of what it was made of, as far as those are still where they were."""
    yield manifest
    for path in (Path(place).resolve() / MANIFEST for place in parts(manifest)):
        if path.is_file() and path not in seen:
            yield from with_parts(read_manifest(path), seen | {path})


def training_hashes(manifest: Manifest) -> set[str]:
    """SHA-256 of every training file of the model and of those that it was made of or trained from."""
    data = (item for each in with_parts(manifest) for item in (each.get("data") or {}).items())
    return {digest for name, digest in data if ".train." in name}
