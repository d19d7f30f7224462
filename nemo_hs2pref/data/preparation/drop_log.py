"""Where everything goes that a reader finds: rows to the database, reasons to dropped.jsonl, all to statistics."""

from collections import Counter, defaultdict
from pathlib import Path

from nemo_hs2pref.data.groups import KINDS, SPLITS, Dropped, Found, Kept, Kind, Split
from nemo_hs2pref.data.jsonl import JsonlWriter
from nemo_hs2pref.data.preparation.writing import Entries
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.data.statistics.statistics import Statistics
from nemo_hs2pref.errors import DataError

DROPPED = "dropped.jsonl"


class DropLog:
    """The account of one preparation; a context manager that closes dropped.jsonl."""

    def __init__(self, folder: Path, scratch: Scratch) -> None:
        self.scratch, self.statistics = scratch, Statistics()
        self.dropped: defaultdict[str, Counter[str]] = defaultdict(Counter)  # output -> reason -> rows
        self._file = JsonlWriter(folder / DROPPED)

    def __enter__(self) -> "DropLog":
        self._file.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.__exit__()

    def take(self, found: Found) -> None:
        found = _without_equal(found)
        self.statistics.add(found)
        if isinstance(found, Kept):
            self.scratch.add(f"{found.kind}.{found.split}", found.records)
        elif isinstance(found, Dropped):
            self.drop(found)

    def drop(self, found: Dropped, tokens: int | None = None) -> None:
        output = f"{found.kind}.{found.split}"
        self.dropped[output][found.reason] += 1
        row = {"output": output, "id": found.id, "reason": found.reason, "where": found.where, "tokens": tokens}
        self._file.write({key: value for key, value in row.items() if value})

    def kinds(self) -> list[Kind]:
        """What the source has rows of, usable or not."""
        return [kind for kind in KINDS if any(self.rows(kind, split) for split in SPLITS)]

    def rows(self, kind: Kind, split: Split) -> int:
        output = f"{kind}.{split}"
        return self.scratch.count(output) + sum(self.dropped[output].values())

    def complete(self, entries: Entries) -> Entries:
        """The entries of the written files with what was dropped from them, and dropped.jsonl's own."""
        for kind in KINDS:
            for split in SPLITS:
                name, reasons = f"{kind}.{split}.jsonl", self.dropped[f"{kind}.{split}"]
                if name in entries:
                    entries[name]["dropped"] = dict(sorted(reasons.items()))
                    if self.rows(kind, split) and not entries[name]["rows"] and split == "train":
                        counts = ", ".join(f"{reason} {count}" for reason, count in reasons.items()) or "all malformed"
                        raise DataError(f"{name}: no row is left to train on ({counts})")
        if self._file.rows:
            entries[DROPPED] = self._file.to_json()
        else:
            self._file.path.unlink()
        return entries


def _without_equal(found: Found) -> Found:
    """A pair whose sides say the same is dropped, whichever the format."""
    if isinstance(found, Kept):
        for record in found.records:
            if isinstance(record, PreferencePair) and record.has_equal_responses:
                return Dropped(found.kind, found.split, "equal_responses", found.where, record.id)
    return found
