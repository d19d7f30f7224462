"""From the scratch database to the prepared files, and to what is made of the same rows beside them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nemo_hs2pref.data.doubts.overlaps import Overlaps
from nemo_hs2pref.data.doubts.texts import doubts_of_texts
from nemo_hs2pref.data.groups import SPLITS, Dropped, Kind, Record, Split
from nemo_hs2pref.data.jsonl import JsonlWriter
from nemo_hs2pref.data.preparation.length import LengthLimit
from nemo_hs2pref.data.preparation.swaps import Group, Swaps
from nemo_hs2pref.data.preparation.views import VIEWS
from nemo_hs2pref.data.reading.rows import Reading
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.errors import DataError

Entries = dict[str, dict[str, Any]]
GROUPS_AT_ONCE = 128  # whose lengths are counted together


@dataclass(frozen=True)
class Writer:
    """What happens to rows on their way."""

    folder: Path
    reading: Reading  # has the rows, and is told of those that the template refuses, and of doubts
    seed: int
    limit: LengthLimit | None
    also: Sequence[str]  # names of VIEWS
    swaps: Swaps | None
    drop: Callable[[Dropped, int | None], None]  # what is told of a row that is left out, with its number of tokens

    def write(self, kinds: Sequence[Kind]) -> Entries:
        """Write the files of these kinds, both splits; the manifest's entry of each, by its name.

        Raises DataError where a view can be made of none of them.
        """
        for name in self.also:
            if not set(VIEWS[name].reads) & set(kinds):
                needs, has = " or ".join(VIEWS[name].reads), " and ".join(kinds)
                raise DataError(f"--also {name} is made of {needs}, and the source has {has} alone; leave it out")
        entries: Entries = {}
        for split in SPLITS:
            there: Sequence[Kind] = [kind for kind in kinds if self.scratch.count(f"{kind}.{split}")] or kinds
            for kind in kinds:
                entries |= self._write(kind, split, [name for name in self.also if _is_made_of(name, kind, there)])
        self._overlaps.tell(self.reading.doubts)
        return entries

    @property
    def scratch(self) -> Scratch:
        return self.reading.scratch

    @property
    def _overlaps(self) -> Overlaps:
        return Overlaps(self.scratch)

    def _write(self, kind: Kind, split: Split, views: Sequence[str]) -> Entries:
        """`<kind>.<split>.jsonl` and the views that are made of it."""
        with ExitStack() as stack:

            def open_file(name: str) -> JsonlWriter:
                return stack.enter_context(JsonlWriter(self.folder / name))

            main, with_ratings = open_file(f"{kind}.{split}.jsonl"), 0
            others = [(open_file(_file_name(name, kind, split)), VIEWS[name].start(self.scratch)) for name in views]
            for group in self._groups(kind, split):
                for record in group:
                    main.write(record.to_json())
                    self._doubt(record, kind, split)
                    with_ratings += isinstance(record, PreferencePair) and bool(record.chosen_attributes)
                for file, rows in others:
                    for row in rows(group):
                        file.write(row)
        entries: Entries = {file.path.name: file.to_json() for file in (main, *(file for file, _ in others))}
        if kind == "pairs":
            entries[main.path.name]["with_ratings"] = with_ratings
        return entries

    def _doubt(self, record: Record, kind: Kind, split: Split) -> None:
        """Count what may not be meant of a row that is written."""
        sides = [side.messages for side in record.conversations()]
        prompt, responses = sides[0][:-1], [side[-1].content for side in sides]
        for word in doubts_of_texts(prompt, responses):
            self.reading.doubts.add(word, record.id)
        is_tie = isinstance(record, PreferencePair) and record.strength == 0
        self._overlaps.add(record.id, kind, split, prompt, None if is_tie else responses)

    def _groups(self, kind: Kind, split: Split) -> Iterator[Group]:
        """The groups in their shuffled order; a limit changes which rows are there, not their order."""
        output = f"{kind}.{split}"
        shuffled = self.scratch.shuffled(output, f"{self.seed} {output}.jsonl")
        groups = iter(tqdm(shuffled, desc=f"writing {output}", total=self.scratch.count(output), disable=None))
        if self.swaps is not None:
            groups = self.swaps.of(groups, output)
        return groups if self.limit is None else self._short(groups, kind, split, self.limit)

    def _short(self, groups: Iterator[Group], kind: Kind, split: Split, limit: LengthLimit) -> Iterator[Group]:
        """The groups without the records that cannot be trained on; without those of which nothing is left."""
        while chunk := list(islice(groups, GROUPS_AT_ONCE)):
            verdicts = iter(limit.verdicts([record for group in chunk for record in group]))
            for group in chunk:
                kept: list[Record] = []
                for record in group:
                    verdict = next(verdicts)
                    if verdict.reason is None:
                        kept.append(record)
                    elif isinstance(verdict.reason, DataError):
                        self.reading.bad_rows.add(f"{kind}.{split}, row {record.id!r}", verdict.reason)
                    else:
                        self.drop(Dropped(kind, split, verdict.reason, "", record.id), verdict.tokens)
                if kept:
                    yield tuple(kept)


def _is_made_of(view: str, kind: Kind, kinds: Sequence[Kind]) -> bool:
    """Of the kinds that a split has, a view takes the first that it can read, or each."""
    readable = [each for each in VIEWS[view].reads if each in kinds]
    return kind in readable if VIEWS[view].of_each else readable[:1] == [kind]


def _file_name(view: str, kind: Kind, split: Split) -> str:
    return f"{view}.{kind}.{split}.jsonl" if VIEWS[view].of_each else f"{view}.{split}.jsonl"
