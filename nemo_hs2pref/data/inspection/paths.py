"""What a path holds: a folder that `data prepare` wrote, any folder with rows, or one file."""

import tempfile
from pathlib import Path
from typing import Any

from nemo_hs2pref.data.doubts import BETWEEN_ROWS, Doubts
from nemo_hs2pref.data.doubts.overlaps import Overlaps
from nemo_hs2pref.data.inspection.facts import Facts, FileFacts
from nemo_hs2pref.data.inspection.kinds import known_kinds
from nemo_hs2pref.data.inspection.reading import Look, Sampling, read_rows
from nemo_hs2pref.data.inspection.rendering import Renderer
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.preparation.output import MANIFEST
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.decode import parse_file
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.files import sha256

ROWS_FILES = (".jsonl", ".jsonl.gz", ".parquet")


def inspect_path(path: Path, sampling: Sampling, renderer: Renderer) -> Facts:
    """All that is found; what is wrong with single rows and with files of a folder is among it.

    Raises DataError where nothing is there, the one file is empty, unreadable or of no known kind, or the folder has
    neither a manifest nor a file of rows.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    try:
        with tempfile.TemporaryDirectory() as place, Scratch(Path(place) / "seen.sqlite") as scratch:
            look = Look(sampling, renderer, Overlaps(scratch))
            facts = _inspect_folder(path, look) if path.is_dir() else _inspect_one(path, look)
            look.overlaps.tell(facts.doubts)
    except OSError as error:
        room = f"digests of its rows go to the temporary folder {tempfile.gettempdir()}, which TMPDIR names"
        raise DataError(f"{path}: cannot be inspected ({error}); {room}") from None
    return facts


def _inspect_one(path: Path, look: Look) -> Facts:
    manifest = prepared_manifest(path.parent) or {"outputs": {}}
    facts = FileFacts(str(path), manifest["outputs"].get(path.name, {}))
    inspect_file(path, facts, look)
    if not facts.kind:
        raise DataError(facts.problem or f"{path}: {_nothing(facts)}")
    return Facts(path, [facts], Doubts(BETWEEN_ROWS))


def _nothing(facts: FileFacts) -> str:
    if not facts.unknown_keys:
        return "has no rows; expected JSON lines, one object a line"
    return f"rows with the keys {', '.join(facts.unknown_keys)} are of no known kind; known are {known_kinds()}"


def prepared_manifest(folder: Path) -> Row | None:
    """The manifest of a folder that a command of ours wrote; None where there is none that can be read."""
    try:
        manifest: Any = parse_file(folder / MANIFEST)
    except (OSError, ValueError):
        return None
    ours = isinstance(manifest, dict) and "tool" in manifest and isinstance(manifest.get("outputs"), dict)
    return manifest if ours and all(isinstance(entry, dict) for entry in manifest["outputs"].values()) else None


def _inspect_folder(folder: Path, look: Look) -> Facts:
    manifest = prepared_manifest(folder)
    if manifest is None:
        files = [FileFacts(name) for name in _names(folder)]
        return Facts(folder, [inspect_file(folder / file.name, file, look) for file in files], Doubts(BETWEEN_ROWS))
    outputs: dict[str, Any] = manifest["outputs"]
    files = [FileFacts(name, promised) for name, promised in outputs.items() if (folder / name).is_file()]
    return Facts(
        folder,
        [inspect_file(folder / file.name, file, look) for file in files],
        Doubts(BETWEEN_ROWS),
        manifest,
        missing=tuple(name for name in outputs if not (folder / name).is_file()),
        foreign=tuple(sorted({path.name for path in folder.iterdir()} - {MANIFEST, *outputs})),
    )


def _names(folder: Path) -> list[str]:
    """The files of rows in a folder and of those in it: the official HelpSteer2 has its preferences one level below."""
    paths = [path for path in [*folder.glob("*"), *folder.glob("*/*")] if _has_rows(path)]
    if not paths:
        raise DataError(f"{folder}: has neither {MANIFEST} nor a file that ends in {', '.join(ROWS_FILES)}")
    return sorted(str(path.relative_to(folder)) for path in paths)


def inspect_file(path: Path, facts: FileFacts, look: Look) -> FileFacts:
    """Fill in the facts of a file; of one without rows, such as a prepared folder's table, size and hash."""
    try:
        facts.size_bytes, facts.sha256 = path.stat().st_size, sha256(path)
        if not facts.promised or _has_rows(path):
            read_rows(facts, path, look)
    except DataError as error:
        facts.problem = str(error)
    except OSError as error:
        facts.problem = f"{path}: cannot be read ({error.strerror or error})"
    return facts


def _has_rows(path: Path) -> bool:
    return path.name.endswith(ROWS_FILES) and path.is_file()
