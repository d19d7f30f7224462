"""One line of JSON, and files of such lines that are written: none is left half written. Reading is data/reading/."""

import gzip
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nemo_hs2pref.decode import KeyTwice, each_once
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.files import replacing

Row = dict[str, Any]


def parse_object(line: bytes) -> Row:
    """The JSON object on one line."""
    try:
        row = json.loads(line.decode("utf-8"), object_pairs_hook=each_once)
    except KeyTwice as fault:
        raise DataError(str(fault)) from None
    except UnicodeDecodeError as error:
        raise DataError(f"byte {error.start} of the line is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON ({_reason(error)})") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 1,000 nested lists
        raise DataError(f"not JSON ({error})") from None
    if not isinstance(row, dict):
        raise DataError(f"expected a JSON object, found {type(row).__name__}")
    return row


def _reason(error: json.JSONDecodeError) -> str:
    """What is wrong, and at which character of the line."""
    before, after = error.doc[: error.pos].rstrip(), error.doc[error.pos :].lstrip()
    if "\0" in error.doc:
        return "it holds a NUL byte: the file is damaged, or in another encoding"
    if error.msg.startswith("Extra data"):
        if before != error.doc[: error.pos] and "\r" in error.doc[len(before) : error.pos]:
            return "its lines end in a lone CR; convert the file with `tr '\\r' '\\n'`"
        return f"something follows the object, from character {error.pos + 1}; expected one object a line"
    if not after:
        return "the line breaks off"
    if before.endswith(",") and after[:1] in ("}", "]"):
        return f"a comma before the closing bracket, at character {error.pos + 1}"
    if after.startswith("'"):
        return f"single quotes at character {error.pos + 1}, as Python prints them; expected double quotes"
    return f"{error.msg.removesuffix(' at')} at character {error.pos + 1}"


def write_jsonl(path: str | Path, rows: Iterable[Row]) -> None:
    """Write one object a line, gzipped where the name ends in `.gz`; the file appears when it is complete."""
    path = Path(path)
    with replacing(path, DataError) as temporary, open(temporary, "wb") as raw:
        # Without the time of writing and the name, equal rows give equal bytes.
        file = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        with file:
            for row in rows:
                file.write(line_of(row))


class JsonlWriter:
    """A JSON lines file that grows row by row, and knows its hash."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self._digest = hashlib.sha256()

    def __enter__(self) -> "JsonlWriter":
        self._file = open(self.path, "wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, row: Row) -> None:
        line = line_of(row)
        self._file.write(line)
        self._digest.update(line)
        self.rows += 1

    def to_json(self) -> Row:
        """What a manifest says of it."""
        return {"rows": self.rows, "sha256": self._digest.hexdigest()}


def line_of(row: Row) -> bytes:
    """The line that stands for a row in every file that is written."""
    return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
