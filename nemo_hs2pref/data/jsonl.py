"""JSON and JSON lines, plain or gzipped: every fault with its file and line, and no file half written."""

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from nemo_hs2pref.errors import DataError

Record = TypeVar("Record")
Row = dict[str, Any]
MAX_FAULTS_SHOWN = 20


def read_jsonl(path: str | Path) -> Iterator[tuple[int, Row]]:
    """(line number from 1, object) of every line that is not blank; a `.gz` file is unpacked on the way.

    Raises DataError with file and line at the first line that is not a JSON object, and with the file
    where it cannot be read.
    """
    for number, line in read_lines(path):
        try:
            yield number, parse_object(line)
        except DataError as fault:
            raise DataError(f"{path}:{number}: {fault}") from None


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text) of every line that is not blank."""
    path = Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number}: byte {error.start} of the line is not UTF-8") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: broken gzip file after line {number} ({error}); copy or download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def parse_object(line: str) -> Row:
    """The JSON object on one line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # bad syntax, a number of 5,000 digits, 1,000 nested lists
        raise DataError(f"not JSON ({error})") from None
    if not isinstance(row, dict):
        raise DataError(f"expected a JSON object, found {type(row).__name__}")
    return row


def collect(
    name: str | Path,
    lines: Iterable[tuple[int, str]],
    parse: Callable[[Row], Record],
    identify: Callable[[Record], str] | None = None,
) -> list[Record]:
    """Parse all lines and report all faults together, so that a file is mended in one go.

    Args:
        name: the file, for messages.
        lines: (line number, text).
        parse: makes a record of an object, or raises DataError with the fault alone.
        identify: the id of a record, where ids must be unique.

    Raises:
        DataError: names the file and up to 20 of its faulty lines.
    """
    records: list[Record] = []
    faults: list[tuple[int, str]] = []
    line_of_id: dict[str, int] = {}
    for number, line in lines:
        try:
            record = parse(parse_object(line))
        except DataError as fault:
            faults.append((number, str(fault)))
            continue
        records.append(record)
        if identify is not None:
            first = line_of_id.setdefault(identify(record), number)
            if first != number:
                faults.append((number, f'"id" {identify(record)!r} stands in line {first} already'))
    refuse_faults(name, faults)
    return records


def refuse_faults(name: str | Path, faults: list[tuple[int, str]]) -> None:
    """Raise one DataError for (line number, fault) pairs, if there are any."""
    if len(faults) == 1:
        raise DataError(f"{name}:{faults[0][0]}: {faults[0][1]}")
    if faults:
        shown = "".join(f"\n  line {number}: {fault}" for number, fault in faults[:MAX_FAULTS_SHOWN])
        more = f"\n  and {len(faults) - MAX_FAULTS_SHOWN} more" if len(faults) > MAX_FAULTS_SHOWN else ""
        raise DataError(f"{name}: {len(faults)} rows cannot be used:{shown}{more}")


def write_jsonl(path: str | Path, rows: Iterable[Row]) -> None:
    """Write one object a line, gzipped where the name ends in `.gz`; the file appears when it is complete."""
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    _write(Path(path), text)


def write_json(path: str | Path, value: Row) -> None:
    """Write one indented JSON document; the file appears when it is complete."""
    _write(Path(path), json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    data = text.encode("utf-8")
    # Without the time of writing equal rows give equal bytes.
    data = gzip.compress(data, mtime=0) if path.suffix == ".gz" else data
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def sha256(path: Path) -> str:
    """Hex digest of the file's bytes, as a manifest names the file it was made of."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place at the end, or vanishes when the block fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)
