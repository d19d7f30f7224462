"""Rows on disk between reading and writing, so that preparing a data set of any size takes the same memory.

SQLite keeps them: it finds a row by its number, for the shuffle, and a text by its digest, for what must be joined or
must not occur twice. The file is private to one preparation and deleted with it.
"""

import errno
import hashlib
import json
import pickle
import random
import sqlite3
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from nemo_hs2pref.data.groups import Record, Split
from nemo_hs2pref.data.records import Message

# Nothing is to be recovered after a crash, so nothing is journalled or synced. Keys come in no order: pages that are
# in memory (64 MB of them, whatever the size of the source) need not be read again for each.
SETTINGS = "PRAGMA page_size=16384; PRAGMA cache_size=-65536; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
TABLES = """
CREATE TABLE groups (place INTEGER PRIMARY KEY, records BLOB);
CREATE TABLE places (kind TEXT, key BLOB, place TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE seen (
    kind TEXT, key BLOB, name TEXT,
    train INTEGER DEFAULT 0, train_turned INTEGER DEFAULT 0,
    validation INTEGER DEFAULT 0, validation_turned INTEGER DEFAULT 0,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE TABLE ratings (key BLOB PRIMARY KEY, attributes TEXT) WITHOUT ROWID;
"""


class Seen(NamedTuple):
    """How often a text was seen: in training and in validation, and of these with its two sides turned."""

    name: str  # of the first row with it
    train: int
    train_turned: int
    validation: int
    validation_turned: int

    @property
    def is_in_both_splits(self) -> bool:
        return bool(self.train + self.train_turned and self.validation + self.validation_turned)

    @property
    def is_in_both_directions(self) -> bool:
        return bool(self.train + self.validation and self.train_turned + self.validation_turned)

    @property
    def repeats(self) -> int:
        """Rows that say the same as an earlier one of their split."""
        return sum(max(number - 1, 0) for number in self[1:])


class Scratch:
    """The database; a context manager that deletes it, and for which a full disk is an OSError as for any file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> "Scratch":
        self._database = sqlite3.connect(self.path, isolation_level=None)
        self._database.executescript(f"{SETTINGS} {TABLES} BEGIN;")
        self.path.unlink()  # the file lives until it is closed, and no kill leaves it behind
        self._places: dict[str, array[int]] = {}  # output -> where each of its groups is; 8 bytes a group
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        if isinstance(error, sqlite3.Error):
            raise OSError(errno.EIO, f"temporary database: {error}") from None

    def add(self, output: str, records: Sequence[Record]) -> None:
        """Keep records that stay together, behind those of the same output."""
        found = self._database.execute("INSERT INTO groups (records) VALUES (?)", [pickle.dumps(tuple(records), 5)])
        self._places.setdefault(output, array("Q")).append(found.lastrowid or 0)

    def count(self, output: str) -> int:
        return len(self._places.get(output, ()))

    def shuffled(self, output: str, seed: str) -> Iterator[tuple[Record, ...]]:
        """The groups of an output in an order that only `seed` and their number decide."""
        order = self._places.get(output, array("Q"))[:]
        random.Random(seed).shuffle(order)
        for place in order:
            (records,) = self._database.execute("SELECT records FROM groups WHERE place = ?", [place]).fetchone()
            yield pickle.loads(records)

    def first_place(self, kind: str, text: str, place: str) -> str:
        """Where `text` was seen first among those of its kind: `place`, unless an earlier call had it."""
        key = _digest(text)
        self._database.execute("INSERT OR IGNORE INTO places VALUES (?, ?, ?)", [kind, key, place])
        (first,) = self._database.execute("SELECT place FROM places WHERE kind = ? AND key = ?", [kind, key]).fetchone()
        return first

    def see(self, kind: str, text: str, name: str, split: Split, *, turned: bool = False) -> None:
        """Count a text in the row called `name`."""
        column = f"{split}_turned" if turned else split
        self._database.execute(
            f"INSERT INTO seen (kind, key, name, {column}) VALUES (?, ?, ?, 1) "
            f"ON CONFLICT (kind, key) DO UPDATE SET {column} = {column} + 1",
            [kind, _digest(text), name],
        )

    def repeated(self, kind: str) -> Iterator[Seen]:
        """Texts of a kind that were seen more than once, in an order that only the texts decide."""
        query = (
            "SELECT name, train, train_turned, validation, validation_turned FROM seen "
            "WHERE kind = ? AND train + train_turned + validation + validation_turned > 1 ORDER BY key"
        )
        for row in self._database.execute(query, [kind]):
            yield Seen(*row)

    def rate(self, scope: str, messages: Sequence[Message], attributes: Mapping[str, float]) -> None:
        """Remember the ratings of a text; those of a text that was rated twice, and differently, are nobody's."""
        self._database.execute(
            "INSERT INTO ratings VALUES (?, ?) ON CONFLICT (key) "
            "DO UPDATE SET attributes = NULL WHERE attributes IS NOT excluded.attributes",
            [_text_key(scope, messages), json.dumps(attributes)],
        )

    def ratings(self, scope: str, messages: Sequence[Message]) -> dict[str, float] | None:
        """The ratings of a text, if it has some."""
        query = "SELECT attributes FROM ratings WHERE key = ?"
        found = self._database.execute(query, [_text_key(scope, messages)]).fetchone()
        return json.loads(found[0]) if found and found[0] else None


def _text_key(scope: str, messages: Sequence[Message]) -> bytes:
    return _digest(json.dumps([scope, *((message.role, message.content) for message in messages)]))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
