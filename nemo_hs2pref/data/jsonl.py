"""JSON lines, plain or gzipped: every fault with its file and line, and no file half written."""

import codecs
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from nemo_hs2pref.data.faults import BadRows, describe
from nemo_hs2pref.errors import DataError, kind_of
from nemo_hs2pref.files import replacing

Record = TypeVar("Record")
Row = dict[str, Any]
LINES_A_REPORT = 200


def read_jsonl(path: str | Path) -> Iterator[tuple[int, Row]]:
    """(line number from 1, object) of every line that is not blank; a `.gz` file is unpacked on the way.

    Raises DataError with file and line at the first line that is not a JSON object, and with the file
    where it cannot be read; MachineError where the disk fails.
    """
    for number, line in read_lines(path):
        try:
            yield number, parse_object(line)
        except DataError as fault:
            raise DataError(f"{path}:{number}: {fault}") from None


def read_lines(path: str | Path, progress: Callable[[int], object] | None = None) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, its bytes) of every line that is not blank.

    `progress` is called now and then with the number of bytes of the file that have been read, packed ones of a `.gz`.
    """
    path = Path(path)
    number = 0
    try:
        with open(path, "rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            if path.suffix == ".gz" and not path.stat().st_size:
                raise EOFError("it has no bytes")
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if progress is not None and number % LINES_A_REPORT == 0:
                    progress(raw.tell())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: broken gzip file after line {number} ({error}); copy or download it again") from None
    except OSError as error:
        raise kind_of(error, DataError)(f"{path}: cannot be read ({error.strerror or error})") from None


def parse_object(line: bytes) -> Row:
    """The JSON object on one line."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"byte {error.start} of the line is not UTF-8") from None
    except (ValueError, RecursionError) as error:  # bad syntax, a number of 5,000 digits, 1,000 nested lists
        raise DataError(f"not JSON ({error})") from None
    if not isinstance(row, dict):
        raise DataError(f"expected a JSON object, found {type(row).__name__}")
    return row


def collect(
    name: str | Path,
    lines: Iterable[tuple[int, bytes]],
    parse: Callable[[Row], Record],
    identify: Callable[[Record], str] | None = None,
) -> list[Record]:
    """Parse all lines and report all faults together, so that a file is mended in one go.

    Args:
        name: the file, for messages.
        lines: (line number, its bytes).
        parse: makes a record of an object, or raises DataError with the fault alone.
        identify: the id of a record, where ids must be unique.

    Raises:
        DataError: names the file and up to 20 of its faulty lines.
    """
    records: list[Record] = []
    bad = BadRows()
    line_of_id: dict[str, int] = {}
    for number, line in lines:
        try:
            record = parse(parse_object(line))
        except DataError as fault:
            bad.add(f"{name}:{number}", fault)
            continue
        records.append(record)
        if identify is not None:
            first = line_of_id.setdefault(identify(record), number)
            if first != number:
                bad.add(f"{name}:{number}", f'"id" {identify(record)!r} stands in line {first} already')
    if bad.count:
        raise DataError(describe(bad.shown, bad.count))
    return records


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
