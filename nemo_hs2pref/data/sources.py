"""Where HelpSteer2 comes from: the bundled sample, a folder with the official files, or the hub.

    train.jsonl, validation.jsonl, preference/preference.jsonl

Each may be gzipped (`.jsonl.gz`, as downloaded).
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from nemo_hs2pref.data.jsonl import read_lines
from nemo_hs2pref.errors import DataError, InstallationError

SAMPLE = Path(__file__).parent / "sample"
FILES = {"train": "train.jsonl", "validation": "validation.jsonl", "preference": "preference/preference.jsonl"}
HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")


@dataclass(frozen=True)
class Table:
    """One official file, wherever it comes from."""

    name: str  # for messages
    lines: list[tuple[int, str]]  # (line number, JSON text)
    sha256: str  # of the file's bytes; from the hub, of the rows' JSON


def open_tables(source: str) -> dict[str, Table]:
    """The tables "train", "validation" and "preference" of a source.

    Args:
        source: `sample`, a folder, or a hub id with or without a revision (`nvidia/HelpSteer2@990b271`).

    Raises:
        DataError: neither a folder nor a hub id, a missing file, or a failed download.
        InstallationError: a hub id without the `datasets` package.
    """
    folder = SAMPLE if source == "sample" else Path(source)
    if folder.is_dir():
        return {name: _file_table(folder, relative) for name, relative in FILES.items()}
    hub_id = HUB_ID.fullmatch(source)
    if hub_id is None:
        raise DataError(
            f"source {source!r} is no folder; expected `sample`, a folder with {', '.join(FILES.values())}, "
            "or a hub id like nvidia/HelpSteer2"
        )
    return {name: _hub_table(hub_id["name"], hub_id["revision"], name) for name in FILES}


def _file_table(folder: Path, relative: str) -> Table:
    path = next((path for suffix in ("", ".gz") if (path := folder / f"{relative}{suffix}").is_file()), None)
    if path is None:
        raise DataError(
            f"{folder / relative}: no such file, nor {Path(relative).name}.gz; "
            f"the official layout has {', '.join(FILES.values())}"
        )
    return Table(str(path), list(read_lines(path)), hashlib.sha256(path.read_bytes()).hexdigest())


def _hub_table(name: str, revision: str | None, table: str) -> Table:
    try:
        from datasets import load_dataset  # seconds to import, and only this source needs it
    except ImportError as error:
        raise InstallationError(
            f"source {name}: the package `datasets` is missing ({error}); install it or pass a folder"
        ) from None
    data_dir, split = ("preference", "train") if table == "preference" else (None, table)
    try:
        rows = load_dataset(name, data_dir=data_dir, split=split, revision=revision)
    except Exception as error:  # network, proxy, missing repository, wrong revision: the library raises dozens of types
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(
            f"source {name}: cannot be loaded from the hub ({reason}); "
            f"download {', '.join(FILES.values())} (.gz is fine) into a folder and pass --source FOLDER"
        ) from None
    lines = [(number, json.dumps(row, ensure_ascii=False)) for number, row in enumerate(rows, start=1)]
    digest = hashlib.sha256("\n".join(line for _, line in lines).encode("utf-8", "surrogatepass"))
    return Table(f"{name}:{table}", lines, digest.hexdigest())
