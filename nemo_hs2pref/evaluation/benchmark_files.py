"""From a benchmark's files, on the hub or here, to its records with unique ids."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import Field, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from nemo_hs2pref.data.faults import describe
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.rows import Line, Reading
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.data.reading.sources import Release, Table, open_tables
from nemo_hs2pref.data.records import Message, parse_id, parse_messages
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.files import sha256


class Named(Protocol):
    """A dataclass with an id that may be unique within a subset only."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def id(self) -> str: ...
    @property
    def subset(self) -> str | None: ...


Record = TypeVar("Record", bound=Named)


@dataclass(frozen=True)
class Benchmark(Generic[Record]):
    """The records of a source, in the order of its files."""

    records: list[Record]
    tables: Sequence[Table]
    ignored: Mapping[str, int]  # key that is not read -> rows that have it

    def describe(self) -> dict[str, Any]:
        """What a summary says of the input; the hub's files have their repository's commit in the name."""
        paths = [path for table in self.tables for path in table.paths]
        digest = self.tables[0].sha256 if len(self.tables) == 1 else sha256(*paths)
        found = {"name": ", ".join(table.name for table in self.tables), "sha256": digest, "rows": len(self.records)}
        return found | ({"ignored_keys": dict(self.ignored)} if self.ignored else {})


def open_benchmark(source: str, release: Release, revision: str | None) -> dict[str, Table]:
    """The tables of a source; see open_tables. A revision is the hub's."""
    if revision is not None and Path(source).exists():
        raise DataError(f"{source}: lies here, and revision {revision} is of a repository of the hub; leave it out")
    return open_tables(source, replace(release, revision=revision or release.revision))


def read_tables(
    tables: Mapping[str, Table], parse: Callable[[str, int, Row], Record], read: Collection[str]
) -> Benchmark[Record]:
    """All rows of all tables.

    Args:
        tables: table -> its file.
        parse: makes a record of (table, the row's number in it from 1, the row); raises DataError with the fault alone.
        read: the keys that `parse` reads, and columns that say nothing of the texts.

    Raises:
        DataError: no rows, or faulty ones, with file and line.
    """
    with TemporaryDirectory() as folder, Scratch(Path(folder) / "rows.sqlite") as scratch:
        reading = Reading(scratch)
        lines: list[Line[Record]] = []
        for key, table in tables.items():
            lines += reading.rows(
                table, lambda row, key=key, table=table: parse(key, reading.num_rows[table.name], row), read
            )
        records = _with_unique_ids([line.record for line in lines])
        for line, record in zip(lines, records, strict=True):
            reading.is_new(record.id, line.where)
    bad = reading.bad_rows
    if bad.count:  # all of a benchmark or nothing: its score would be another's
        raise DataError(describe(bad.shown, bad.count))
    if not records:
        raise DataError(f"{', '.join(table.name for table in tables.values())}: no rows; expected at least one")
    return Benchmark(records, tuple(tables.values()), reading.ignored)


def parse_name(row: Row, number: int) -> str:
    """The row's id; where it has none, its number and a hash of it, so that scores never join another row."""
    if row.get("id") is not None:
        return parse_id(row)
    content = json.dumps(row, sort_keys=True, default=str).encode()
    return f"{number}-{hashlib.sha256(content).hexdigest()[:8]}"


def parse_prompt(row: Row) -> tuple[Message, ...]:
    """Text or messages, in whatever turns a benchmark has; the user speaks last."""
    prompt = parse_messages(row, "prompt", last="user")
    if not prompt or prompt[-1].role != "user":
        raise DataError('"prompt": the last message must have the role "user"')
    return prompt


def _with_unique_ids(records: Sequence[Record]) -> list[Record]:
    """The records; where an id repeats, all of them as "<subset>/<id>"."""
    repeats = any(count > 1 for count in Counter(record.id for record in records).values())
    return [_prefixed(record) if repeats and record.subset else record for record in records]


def _prefixed(record: Record) -> Record:
    return replace(record, id=f"{record.subset}/{record.id}")
