"""The rows of a Parquet file, in the types of JSON.

Null and NaN are how a table says that a row has no value: both are read as null. Decimals are numbers, and text that
a writer has not marked as such, as old ones do, is text.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.errors import DataError, InstallationError

ROWS_A_BATCH = 500


def parquet_rows(path: Path, progress: Callable[[int], object]) -> Iterator[tuple[int, Row]]:
    """(row number from 1, row).

    Raises DataError where the file cannot be read, InstallationError without the package `pyarrow`.
    """
    try:
        from pyarrow import ArrowException, parquet  # half a second to import, and only such files need it
    except ImportError as error:
        raise InstallationError(f"{path}: the package `pyarrow` is missing ({error}); install it") from None
    number = 0
    try:
        file: Any = parquet.ParquetFile(path)
        refuse_equal_names(path, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=ROWS_A_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield number, as_json(row)
            progress(path.stat().st_size * number // file.metadata.num_rows)
    except (ArrowException, OSError, ValueError) as error:  # ValueError: text that is not UTF-8
        raise DataError(f"{path}: cannot be read as Parquet ({error}); copy or download it again") from None


def refuse_equal_names(path: Path, names: Sequence[str]) -> None:
    """A row would have the last of them, without a word."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path}: several columns have the name {twice[0]!r}; rename them, or leave out all but one")


def as_json(value: Any) -> Any:
    """The value as JSON would have it; what JSON does not know stays."""
    if isinstance(value, dict):
        return {key: as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_json(inner) for inner in value]
    if isinstance(value, Decimal):
        return None if not value.is_finite() else int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value  # an image, for one
    return None if value != value else value
