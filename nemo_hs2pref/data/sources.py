"""Where a published data set comes from: a folder with its files, one of these files, the hub, or a bundled sample.

Each file may be gzipped (`.jsonl.gz`, as downloaded). From the hub the same files are fetched, so that a source has
the same rows and the same hashes wherever it lies.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from nemo_hs2pref.data.jsonl import read_lines, sha256
from nemo_hs2pref.errors import DataError, InstallationError

HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")
Files = Mapping[str, str]  # table -> its file's path below the data set's folder, without `.gz`


@dataclass(frozen=True)
class Release:
    """The files of a published data set."""

    hub_id: str
    layouts: tuple[Files, ...]  # the whole data set, as on the hub; then other sets of files that are one too
    sample: Path | None = None  # the folder of a bundled sample

    def describe(self) -> str:
        return " or ".join(", ".join(files.values()) for files in self.layouts)


@dataclass(frozen=True)
class Table:
    """One official file, wherever it comes from."""

    name: str  # for messages
    lines: list[tuple[int, str]]  # (line number, JSON text)
    sha256: str  # of the file's bytes
    folder: str = ""  # name of the folder that the file is in


def open_tables(source: str, release: Release) -> dict[str, Table]:
    """The tables of a source: all of a layout from a folder or the hub, one from a file.

    Args:
        source: `sample`, a folder, a file, or a hub id with or without a revision (`nvidia/HelpSteer2@990b271`).
        release: which files the data set has.

    Raises:
        DataError: none of these, a missing file, a file of another name, or a failed download.
        InstallationError: a hub id without the `huggingface_hub` package.
    """
    path = release.sample if source == "sample" and release.sample else Path(source)
    if path.is_dir():
        files = _layout_in(path, release)
        return {table: _open(_file(path, file, files)) for table, file in files.items()}
    if path.is_file():
        return {_table_of(path, release): _open(path)}
    hub_id = HUB_ID.fullmatch(source)
    if hub_id is None:
        sample = "`sample`, " if release.sample else ""
        raise DataError(
            f"source {source!r} is no file and no folder; expected {sample}a folder with {release.describe()}, "
            f"one of these files, or a hub id like {release.hub_id}"
        )
    files = release.layouts[0]
    return {table: _hub_table(hub_id["name"], hub_id["revision"], file, release) for table, file in files.items()}


def _layout_in(folder: Path, release: Release) -> Files:
    """The first layout of which the folder has a file."""
    for files in release.layouts:
        if any(_found(folder / file) for file in files.values()):
            return files
    return release.layouts[0]


def _table_of(path: Path, release: Release) -> str:
    """Which table a single file is, by its name; where a layout is a single file, the name is free."""
    name = path.name.removesuffix(".gz")
    for files in release.layouts:
        fitting = [table for table, file in files.items() if len(files) == 1 or PurePath(file).name == name]
        if len(fitting) == 1:
            return fitting[0]
    raise DataError(f"{path}: the name does not say which file this is; the official ones are {release.describe()}")


def _file(folder: Path, file: str, files: Files) -> Path:
    path = _found(folder / file)
    if path is None:
        raise DataError(
            f"{folder / file}: no such file, nor {PurePath(file).name}.gz; "
            f"the official layout has {', '.join(files.values())}"
        )
    return path


def _found(path: Path) -> Path | None:
    """`path`, plain or gzipped."""
    return next((file for suffix in ("", ".gz") if (file := path.with_name(path.name + suffix)).is_file()), None)


def _open(path: Path, name: str | None = None) -> Table:
    # absolute() and not resolve(): the hub's cache links to blobs in a folder without a meaning
    digest = sha256(path)
    return Table(name or str(path), list(read_lines(path)), digest, path.absolute().parent.name)


def _hub_table(name: str, revision: str | None, file: str, release: Release) -> Table:
    """A file of the hub, where all are gzipped. Not `datasets`: Arrow has no type for trees (OASST)."""
    try:
        from huggingface_hub import hf_hub_download  # a second to import, and only this source needs it
    except ImportError as error:
        raise InstallationError(
            f"source {name}: the package `huggingface_hub` is missing ({error}); install it or pass a folder"
        ) from None
    try:
        path = hf_hub_download(name, f"{file}.gz", repo_type="dataset", revision=revision)
    except Exception as error:  # network, proxy, missing repository, wrong revision: the library raises dozens of types
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(
            f"source {name}: {file}.gz cannot be loaded from the hub ({reason}); "
            f"download {release.describe()} (.gz is fine) into a folder and pass --source FOLDER"
        ) from None
    return _open(Path(path), f"{name}/{file}.gz")
