"""What is scored, or generated, already, kept beside the output until that is written, so that a second start goes on.

    OUTPUT.partial/<model>.<rank>.jsonl   {"model": {...}}                                     the first line
                                          {"rows": [key, ...], "attributes": [[...], ...]}     one a batch
                                          {"rows": [id, ...], "responses": [[{...}], ...]}     of responses

A row is known by the hash of its tokens, so the journal serves any number of ranks, and another file of rows, whose
whole run would batch them differently and differ in the last digits. A kill cuts at most the last line, which is
dropped: a batch is there whole or not at all. A batch with a non-finite value is not written, so that it is computed
again.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint.file_list import FILE_LIST
from nemo_hs2pref.checkpoint.importers import nemo2
from nemo_hs2pref.checkpoint.layout import MANIFEST, TOKENIZER, WEIGHTS
from nemo_hs2pref.data.jsonl import line_of
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.scoring.batches import Key

Known = dict[Key, list[float]]  # row -> [K] attributes
PARTS = (WEIGHTS, TOKENIZER, nemo2.CONTEXT, nemo2.WEIGHTS)  # folders in a checkpoint of NeMo's


def partial_of(output: str | Path) -> Path:
    """Where the journal of an output stands."""
    return Path(f"{output}.partial")


def fingerprint(path: Path, **settings: Any) -> dict[str, Any]:
    """What the scores depend on: the files of the model, by size and time (ns) of the last change, and settings.

    Without our manifest, which gets the mean and std of the rewards.
    """
    described = {
        str(file.relative_to(path)): [file.stat().st_size, file.stat().st_mtime_ns]
        for file in files_of(path)
        if file.name not in (MANIFEST, FILE_LIST)
    }
    return {"path": str(path.resolve()), "files": described, **settings, "tool_version": __version__}


def files_of(path: Path) -> list[Path]:
    """An archive, or the model's own files in its folder: results, and the journal itself, may lie in others there."""
    if not path.is_dir():
        return [path]
    files = [*path.iterdir(), *(file for part in PARTS for file in (path / part).rglob("*"))]
    return sorted(file for file in files if file.is_file())


@dataclass(frozen=True)
class Journal:
    """The journal of one model in `folder`."""

    folder: Path
    model: Mapping[str, Any]  # its fingerprint, and where it is computed
    what: str = "attributes"  # of a row

    @property
    def digest(self) -> str:
        return blake2b(line_of(dict(self.model)), digest_size=8).hexdigest()

    def read(self) -> dict[Key, Any]:
        """All that any rank wrote, for one rank to call before the others write."""
        known: dict[Key, Any] = {}
        for file in sorted(self.folder.glob("*.jsonl")):
            if not file.name.startswith(self.digest):
                print(f"{file}: results of another model, precision, device or setting, not used", file=sys.stderr)
                continue
            for line in whole_lines(file)[1:]:
                batch = json.loads(line)
                known |= zip(batch["rows"], batch[self.what], strict=True)
        return known

    def append(self, rank: int, rows: Sequence[Key], values: Sequence[Any]) -> None:
        """One batch, in one write to the file of this rank, if all of it is finite."""
        try:
            batch = json.dumps({"rows": rows, self.what: values}, allow_nan=False)
        except ValueError:
            return
        file = self.folder / f"{self.digest}.{rank}.jsonl"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(file, "ab") as stream:
                first = b"" if stream.tell() else line_of({"model": dict(self.model)})
                stream.write(first + f"{batch}\n".encode())
        except OSError as error:
            raise DataError(f"{file}: cannot be written ({error.strerror or error})") from None

    def remove(self) -> None:
        """Once the output is written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def whole_lines(file: Path) -> list[bytes]:
    """The lines of a file, which is cut behind the last one that has its end."""
    content = file.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with open(file, "r+b") as stream:
            stream.truncate(end)
    return content[:end].splitlines()
