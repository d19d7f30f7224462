"""What a folder of rows says of its files: the manifest that `hs2pref data prepare` writes, read in one way."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nemo_hs2pref.data.preparation.output import MANIFEST
from nemo_hs2pref.decode import from_file
from nemo_hs2pref.errors import DataError

MEND = "prepare the data again, or move this file away: without a manifest the rows are read as they are"


@dataclass(frozen=True)
class Output:
    """A prepared file, of rows or a picture of them."""

    sha256: str
    rows: int | None = None  # ties are not among them


@dataclass(frozen=True)
class Limit:
    """By which rows were left out."""

    max_length: int
    template: str
    tokenizer: str


@dataclass(frozen=True)
class Prepared:
    """What is read of the manifest. outputs: by file name."""

    outputs: Mapping[str, Output]
    length_limit: Limit | None = None


def read_prepared(folder: Path) -> Prepared | None:
    """None where there is no manifest: rows of others. Raises DataError where it is none of ours."""
    file = folder / MANIFEST
    if not file.exists():
        return None
    try:
        return from_file(Prepared, file, DataError)
    except DataError as error:
        reason = str(error).removeprefix(f"{file}: ")
        raise DataError(f"{file}: is no manifest of `hs2pref data prepare` ({reason}); {MEND}") from None


def outputs_of(folder: Path) -> Mapping[str, Output]:
    """Empty where there is no manifest. Raises as read_prepared."""
    prepared = read_prepared(folder)
    return prepared.outputs if prepared else {}
