"""The rows of a Parquet file. Null and NaN are how a table says that a row has no value: both are read as null."""

from collections.abc import Callable, Iterator
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
        for batch in file.iter_batches(batch_size=ROWS_A_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield number, without_nan(row)
            progress(path.stat().st_size * number // file.metadata.num_rows)
    except (ArrowException, OSError, ValueError) as error:  # ValueError: text that is not UTF-8
        raise DataError(f"{path}: cannot be read as Parquet ({error}); copy or download it again") from None


def without_nan(value: Any) -> Any:
    """The value with null in the place of every NaN."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    return None if value != value else value
