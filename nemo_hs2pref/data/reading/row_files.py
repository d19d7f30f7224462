"""The rows of one file, for every command that reads rows: JSON lines, a JSON array, or Parquet.

Memory does not grow with the file. Which kind it is, its first bytes say (file_kinds), and not its name.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nemo_hs2pref.data.jsonl import Row, parse_object
from nemo_hs2pref.data.reading.file_kinds import PARQUET, is_array
from nemo_hs2pref.data.reading.opening import Opened, opened
from nemo_hs2pref.data.reading.parquet import parquet_rows
from nemo_hs2pref.errors import DataError, InstallationError

Progress = Callable[[int], object]
ROWS_A_REPORT = 200


def rows_of(path: str | Path, progress: Progress | None = None) -> Iterator[tuple[int, Row | DataError]]:
    """(line number from 1, the row or what is wrong with it) of every line that is not blank.

    In an array and in Parquet a row's number takes the place of a line's.

    Args:
        path: the file.
        progress: called now and then with the number of bytes of the file that have been read.

    Raises:
        DataError: the file cannot be read, or is of a kind that is not; the sentence names it and what to do.
        MachineError: the disk fails.
        InstallationError: the package for its kind is missing.
    """
    path, progress = Path(path), progress or (lambda _: None)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file of rows in it")
    with opened(path) as file:
        if not file.head.startswith(PARQUET):
            yield from _array(path, file, progress) if is_array(file.head) else _lines(file, progress)
            return
    yield from parquet_rows(path, progress)


def read_jsonl(path: str | Path) -> Iterator[tuple[int, Row]]:
    """(line number from 1, object) of every row; DataError with file and line at the first that is none."""
    for number, row in rows_of(path):
        if isinstance(row, DataError):
            raise DataError(f"{path}:{number}: {row}")
        yield number, row


def _lines(file: Opened, progress: Progress) -> Iterator[tuple[int, Row | DataError]]:
    for number, line in enumerate(file.stream, start=1):
        file.row = number
        if line.strip():
            yield number, _parsed(line)
        if number % ROWS_A_REPORT == 0:
            progress(file.position())


def _parsed(line: bytes) -> Row | DataError:
    try:
        return parse_object(line)
    except DataError as fault:
        return fault


def _array(path: Path, file: Opened, progress: Progress) -> Iterator[tuple[int, Row | DataError]]:
    try:
        import ijson  # only an array needs it
    except ImportError as error:
        raise InstallationError(
            f"{path}: is a JSON array, for which the package `ijson` is missing ({error}); install it, or write one "
            "object a line (`jq -c '.[]'`)"
        ) from None
    number = 0
    try:
        rows: Iterator[Any] = ijson.items(file.stream, "item", use_float=True)
        for number, row in enumerate(rows, start=1):
            file.row = number
            yield (
                number,
                row if isinstance(row, dict) else DataError(f"expected a JSON object, found {type(row).__name__}"),
            )
            if number % ROWS_A_REPORT == 0:
                progress(file.position())
    except (ijson.JSONError, UnicodeDecodeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{path}: is a JSON array that breaks off or is malformed after row {number} ({reason}); write it again, "
            "or as one object a line"
        ) from None
