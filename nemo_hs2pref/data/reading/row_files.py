"""The rows of one file, for every command that reads rows: JSON lines, a JSON array, or Parquet.

Memory does not grow with the file, and no row may be so long that it would: a gzip file of 4 MB holds a line of 4 GiB.
Which kind it is, its first bytes say (file_kinds), and not its name.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_hs2pref.data.jsonl import Row, parse_object
from nemo_hs2pref.data.reading.file_kinds import PARQUET, is_array
from nemo_hs2pref.data.reading.opening import Opened, opened
from nemo_hs2pref.data.reading.parquet import parquet_rows
from nemo_hs2pref.errors import DataError, InstallationError

Progress = Callable[[int], object]
ROWS_A_REPORT = 200
MOST_BYTES = 32 << 20  # of one row, in UTF-8; a conversation of a million tokens has 4 to 8 MB


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
            yield from _array(path, file, progress) if is_array(file.head) else _lines(path, file, progress)
            return
    yield from parquet_rows(path, progress)


def read_jsonl(path: str | Path) -> Iterator[tuple[int, Row]]:
    """(line number from 1, object) of every row; DataError with file and line at the first that is none."""
    for number, row in rows_of(path):
        if isinstance(row, DataError):
            raise DataError(f"{path}:{number}: {row}")
        yield number, row


def _lines(path: Path, file: Opened, progress: Progress) -> Iterator[tuple[int, Row | DataError]]:
    for number, line in enumerate(iter(lambda: file.stream.readline(MOST_BYTES + 1), b""), start=1):
        file.row = number
        if len(line) > MOST_BYTES:
            raise _too_long(path, number)
        if line.strip():
            yield number, _parsed(line)
        if number % ROWS_A_REPORT == 0:
            progress(file.position())


def _too_long(path: Path, number: int) -> DataError:
    return DataError(
        f"{path}:{number}: the row has more than {MOST_BYTES:,} bytes (unpacked, in UTF-8), which no conversation has; "
        "write one object a line, or copy or download the file again"
    )


def _parsed(line: bytes) -> Row | DataError:
    try:
        return parse_object(line)
    except DataError as fault:
        return fault


@dataclass
class Pieces:
    """An array for its parser, which keeps a row in memory until the row ends."""

    path: Path
    file: Opened
    taken: int = 0  # bytes since the last row

    def read(self, size: int) -> bytes:
        """DataError where a row does not end within the bytes that one may have."""
        piece = self.file.stream.read(size)
        self.taken += len(piece)
        if self.taken > MOST_BYTES:
            raise _too_long(self.path, self.file.row + 1)
        return piece


def _array(path: Path, file: Opened, progress: Progress) -> Iterator[tuple[int, Row | DataError]]:
    try:
        import ijson  # only an array needs it
    except ImportError as error:
        raise InstallationError(
            f"{path}: is a JSON array, for which the package `ijson` is missing ({error}); install it, or write one "
            "object a line (`jq -c '.[]'`)"
        ) from None
    number, pieces = 0, Pieces(path, file)
    try:
        rows: Iterator[Any] = ijson.items(pieces, "item", use_float=True)
        for number, row in enumerate(rows, start=1):
            file.row, pieces.taken = number, 0
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
