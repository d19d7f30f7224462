"""The rows of a source, parsed one at a time, and what readers of all formats need while they go through them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, Generic, NamedTuple, TypeVar

from tqdm import tqdm

from nemo_hs2pref.data.doubts import Doubts
from nemo_hs2pref.data.doubts.columns import contradicts
from nemo_hs2pref.data.faults import BadRows
from nemo_hs2pref.data.groups import Split
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.data.reading.sources import Table
from nemo_hs2pref.data.reading.split import VALIDATION_SHARE, split_of_prompt
from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.unread import unread
from nemo_hs2pref.errors import DataError

Parsed_co = TypeVar("Parsed_co", covariant=True)


class Line(NamedTuple, Generic[Parsed_co]):
    """One row of a table."""

    number: int  # of the table's rows, from 1; blank lines are none
    where: str  # file:line
    record: Parsed_co


@dataclass
class Reading:
    """One pass over the tables of a source."""

    scratch: Scratch
    bad_rows: BadRows = field(default_factory=BadRows)
    validation_share: float = VALIDATION_SHARE  # of the prompts, where the source does not divide them
    doubts: Doubts = field(default_factory=Doubts)  # of rows that are kept, whatever else they say
    ignored: Counter[str] = field(default_factory=Counter[str])  # key that is not read -> well-formed rows that have it
    num_rows: Counter[str] = field(default_factory=Counter[str])  # table's name -> rows, malformed ones too

    def rows(self, table: Table, parse: Callable[[Row], Parsed_co], read: Collection[str]) -> Iterator[Line[Parsed_co]]:
        """The table's well-formed rows; a malformed one goes to `bad_rows`.

        So does one with a key that changes what the row says and is not among `read`, those that `parse` reads.
        """
        title = table.name.rpartition("/")[2]
        with tqdm(total=table.num_bytes, desc=f"reading {title}", unit="B", unit_scale=True, disable=None) as bar:
            for where, row in table.rows(lambda done: bar.update(done - bar.n)):
                self.num_rows[table.name] += 1
                try:
                    if isinstance(row, DataError):
                        raise row
                    ignored = unread(row, read)
                    record = parse(row)
                except DataError as fault:
                    self.bad_rows.add(where, fault)
                else:
                    self.ignored.update(ignored)
                    if not isinstance(row, DataError) and contradicts(row):
                        self.doubts.add("contradicting_columns", where)
                    yield Line(self.num_rows[table.name], where, record)
            bar.update(table.num_bytes - bar.n)

    def is_new(self, name: str, where: str) -> bool:
        """Whether no row before had this id; a second one goes to `bad_rows`."""
        first = self.scratch.first_place("id", name, where)
        if first != where:
            self.bad_rows.add(where, f'"id" {name!r} stands in {first} already')
        return first == where

    def describe(self, tables: Mapping[str, Table]) -> dict[str, dict[str, Any]]:
        """What a manifest says of the tables that were read."""
        return {
            key: {"name": table.name, "rows": self.num_rows[table.name], "sha256": table.sha256}
            for key, table in tables.items()
        }

    def split_of(self, prompt: Sequence[Message]) -> Split:
        return split_of_prompt(prompt, self.validation_share)


def by_prompt(
    lines: Iterator[Line[Parsed_co]], prompt_of: Callable[[Parsed_co], str], at_most: int
) -> Iterator[list[Line[Parsed_co]]]:
    """Consecutive rows of one prompt, `at_most` at a time: a prompt that was used twice gives two groups."""
    for _, group in groupby(lines, key=lambda line: prompt_of(line.record)):
        while same_prompt := list(islice(group, at_most)):
            yield same_prompt
