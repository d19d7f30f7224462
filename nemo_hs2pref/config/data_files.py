"""The files of rows that a run reads, and what their preparation says of them: one rule for training and before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nemo_hs2pref.config.schema import RewardModelConfig
from nemo_hs2pref.decode import from_file
from nemo_hs2pref.errors import DataError

# Validation sets that `hs2pref data prepare` writes; a source may have one of them.
STANDARD_SETS = ("ratings", "pairs")
MANIFEST = "manifest.json"  # of `hs2pref data prepare`


@dataclass(frozen=True)
class Output:
    """A prepared file, of rows or a picture of them."""

    sha256: str
    rows: int | None = None  # ties are not among them


@dataclass(frozen=True)
class LengthLimit:
    """By which rows were left out."""

    max_length: int
    template: str
    tokenizer: str


@dataclass(frozen=True)
class Prepared:
    """What is read of the manifest."""

    outputs: Mapping[str, Output]
    length_limit: LengthLimit | None = None


def read_prepared(folder: Path) -> Prepared | None:
    """None where there is no manifest: rows of others. Raises DataError where it is none of ours."""
    file = folder / MANIFEST
    try:
        return from_file(Prepared, file, DataError) if file.is_file() else None
    except DataError as error:
        raise DataError(f"{error}; prepare the data again: hs2pref data prepare") from None


def train_file(config: RewardModelConfig) -> Path:
    return Path(config.data.dir) / config.data.train


def validation_files(config: RewardModelConfig) -> dict[str, Path]:
    """Files of the named sets, whether they are there or not; a set that need not be there and is not is left out."""
    left_out = absent_set(config)
    return {name: Path(config.data.dir) / file for name, file in config.data.validation.items() if name != left_out}


def absent_set(config: RewardModelConfig) -> str | None:
    """Of ratings and pairs the set that the loss does not read, where it is not there."""
    (other,) = {*STANDARD_SETS} - {config.loss.reads}
    file = config.data.validation.get(other)
    return other if file is not None and not (Path(config.data.dir) / file).exists() else None
