"""Where a data set comes from: a folder with its files, one of these files, the hub, or a bundled sample.

A file may be plain (`.jsonl`), gzipped (`.jsonl.gz`, as downloaded) or Parquet (one file, or `train-00000-of-00002`
and so on): in a folder the names are looked for, and the content says what a file is (row_files.py). From the hub the
published files themselves are fetched, through `datasets`, so that a source has the same rows and the same hashes
wherever it lies.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.row_files import rows_of
from nemo_hs2pref.errors import DataError, InstallationError
from nemo_hs2pref.files import sha256

HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")
Files = Mapping[str, str]  # table -> its file's path below the data set's folder, without `.gz`


@dataclass(frozen=True)
class Release:
    """The files of a published data set."""

    hub_id: str | None  # None: people bring their own files
    layouts: tuple[Files, ...]  # the whole data set, as on the hub; then other sets of files that are one too
    hub_files: Files | None = None  # their names on the hub, where they are not the first layout's with `.gz`
    revision: str | None = None  # of the hub's repository, where none is asked for
    optional: frozenset[str] = frozenset()  # tables that a folder may lack
    sample: Path | None = None  # the folder of a bundled sample

    def describe(self) -> str:
        return " or ".join(", ".join(files.values()) for files in self.layouts)


@dataclass(frozen=True)
class Table:
    """One file of a data set, wherever it comes from; Parquet may come in several pieces."""

    name: str  # for messages
    paths: tuple[Path, ...]
    sha256: str  # of the bytes of all pieces

    @property
    def is_as_downloaded(self) -> bool:
        """Only of a gzipped file the published hash is known."""
        return self.paths[0].suffix == ".gz"

    @property
    def folder(self) -> str:
        """Name of the folder that the file is in."""
        # absolute() and not resolve(): the hub's cache links to blobs in a folder without a meaning
        return self.paths[0].absolute().parent.name

    @property
    def num_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.paths)

    def rows(self, progress: Callable[[int], object]) -> Iterator[tuple[str, Row | DataError]]:
        """("file:line", the row or what is wrong with it); `progress` is called with the bytes read so far."""
        before = 0
        for path in self.paths:
            place = self.name if len(self.paths) == 1 else str(path)
            for number, row in rows_of(path, lambda done, before=before: progress(before + done)):
                yield f"{place}:{number}", row
            before += path.stat().st_size


def open_tables(source: str, release: Release) -> dict[str, Table]:
    """The tables of a source: all of a layout from a folder or the hub, one from a file.

    Args:
        source: `sample`, a folder, a file, or a hub id with or without a revision (`nvidia/HelpSteer2@990b271`).
        release: which files the data set has.

    Raises:
        DataError: none of these, a missing file, a file of another name, or a failed download.
        InstallationError: a hub id without the `datasets` package.
    """
    path = release.sample if source == "sample" and release.sample else Path(source)
    if path.is_dir():
        files = _layout_in(path, release)
        found = {table: _found(path / file) for table, file in files.items()}
        return {
            table: _open(pieces or _missing(path / files[table], files))
            for table, pieces in found.items()
            if pieces or table not in release.optional
        }
    if path.is_file():
        return {_table_of(path, release): _open((path,))}
    hub_id = HUB_ID.fullmatch(source)
    if hub_id is None or release.hub_id is None:
        sample = "`sample`, " if release.sample else ""
        hub = f", or a hub id like {release.hub_id}" if release.hub_id else ""
        raise DataError(
            f"source {source!r} is no file and no folder; expected {sample}a folder with {release.describe()}, "
            f"one of these files{hub}"
        )
    return _hub_tables(hub_id["name"], hub_id["revision"] or release.revision, release)


def _layout_in(folder: Path, release: Release) -> Files:
    """The first layout of which the folder has a file."""
    for files in release.layouts:
        if any(_found(folder / file) for file in files.values()):
            return files
    return release.layouts[0]


def _table_of(path: Path, release: Release) -> str:
    """Which table a single file is, by its name; where a layout is a single file, the name is free."""
    name = path.name.partition(".")[0]
    for files in release.layouts:
        fitting = [table for table, file in files.items() if len(files) == 1 or PurePath(file).stem == name]
        if len(fitting) == 1:
            return fitting[0]
    raise DataError(f"{path}: the name does not say which file this is; the official ones are {release.describe()}")


def _missing(path: Path, files: Files) -> tuple[Path, ...]:
    raise DataError(
        f"{path}: no such file, nor {path.name}.gz, nor {path.stem}.parquet; "
        f"the official layout has {', '.join(files.values())}"
    )


def _found(path: Path) -> tuple[Path, ...]:
    """`path`, plain, gzipped, or as Parquet; empty where it is none of these."""
    for name in (path.name, f"{path.name}.gz", f"{path.stem}.parquet"):
        if path.with_name(name).is_file():
            return (path.with_name(name),)
    pieces = sorted(path.parent.glob(f"{path.stem}-*-of-*.parquet"))
    for piece in pieces:
        number = piece.stem.rpartition("-of-")[2]
        if not number.isdigit() or int(number) != len(pieces):
            raise DataError(f"{piece}: one of {number} pieces, and {len(pieces)} are there; copy all of them")
    return tuple(pieces)


def _open(paths: tuple[Path, ...], name: str | None = None) -> Table:
    try:
        return Table(name or str(paths[0]), paths, sha256(*paths))
    except OSError as error:
        raise DataError(f"{paths[0]}: cannot be read ({error.strerror or error})") from None


def _hub_tables(name: str, revision: str | None, release: Release) -> dict[str, Table]:
    """The files of the hub, downloaded and cached by `datasets`.

    Its rows are not used: Arrow has no type for trees (OASST), and a fault should name the line of a published file.
    """
    try:
        from datasets import DownloadManager  # a second to import, and only this source needs it
    except ImportError as error:
        raise InstallationError(
            f"source {name}: the package `datasets` is missing ({error}); install it or pass a folder"
        ) from None
    at = f"{name}@{revision}" if revision else name
    files = release.hub_files or {table: f"{file}.gz" for table, file in release.layouts[0].items()}
    urls = {table: f"hf://datasets/{at}/{file}" for table, file in files.items()}
    try:
        paths: Mapping[str, str] = DownloadManager().download(urls)
    except Exception as error:  # network, proxy, missing repository, wrong revision: the library raises dozens of types
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(
            f"source {at}: no such file or folder here, and it cannot be loaded from the hub ({reason}); "
            f"download {', '.join(files.values())} into a folder and pass that folder"
        ) from None
    return {table: _open((Path(path),), f"{name}@{_commit(path)}/{files[table]}") for table, path in paths.items()}


def _commit(path: str) -> str:
    """What a branch or no revision stood for: the hub's cache has a folder snapshots/COMMIT."""
    return path.replace("\\", "/").partition("/snapshots/")[2].partition("/")[0]
