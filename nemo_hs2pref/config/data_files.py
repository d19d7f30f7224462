"""The files of rows that a run reads: one rule for training and before it."""

from collections.abc import Iterator
from pathlib import Path

from nemo_hs2pref.config.schema.common import RunConfig


def train_file(config: RunConfig) -> Path:
    return Path(config.data.dir) / config.data.train


def validation_files(config: RunConfig) -> dict[str, Path]:
    """Files of the named sets, whether they are there or not; a set that need not be there and is not is left out."""
    left_out = {*absent_sets(config)}
    return {name: Path(config.data.dir) / file for name, file in config.data.validation.items() if name not in left_out}


def absent_sets(config: RunConfig) -> Iterator[str]:
    """Those that need not be there and are not."""
    for name in config.may_be_absent:
        file = config.data.validation.get(name)
        if file is not None and not (Path(config.data.dir) / file).exists():
            yield name


def files_read(config: RunConfig) -> dict[str, Path]:
    """Key -> file of rows."""
    return {"data.train": train_file(config)} | {
        f"data.validation.{name}": file for name, file in validation_files(config).items()
    }
