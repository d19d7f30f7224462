"""The files of rows that a run reads, by their hashes: for a resume, and for a checkpoint's provenance."""

from collections.abc import Mapping
from pathlib import Path

from nemo_hs2pref.config.data_files import train_file, validation_files
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.data.manifest import outputs_of
from nemo_hs2pref.errors import DataError, kind_of
from nemo_hs2pref.files import sha256


def hashes_of_rows(config: RunConfig) -> dict[str, str]:
    """SHA-256 of the files that the run reads, by their names in the configuration."""
    names = {train_file(config): config.data.train}
    names |= {path: config.data.validation[name] for name, path in validation_files(config).items()}
    try:
        return {name: sha256(path) for path, name in names.items()}
    except OSError as error:
        raise kind_of(error, DataError)(f"{error.filename}: cannot be read ({error.strerror or error})") from None


def hashes_of_data(folder: Path, rows: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of all prepared files by their names, as the manifest has it, and of those that the run read."""
    prepared = {name: about.sha256 for name, about in outputs_of(folder).items()}
    return prepared | {Path(name).name: digest for name, digest in rows.items()}
