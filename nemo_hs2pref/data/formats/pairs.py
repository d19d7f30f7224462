"""Chosen and rejected responses from anywhere, in the forms in which preference data is usually passed around.

    {"prompt": str or [messages], "chosen": str, "rejected": str}              the project's own pairs
    {"prompt": str or [messages], "chosen": [messages], "rejected": [...]}     responses as messages
    {"chosen": [messages], "rejected": [messages]}                             the prompt is what both begin with
    {"conversations": [...], "chosen": {"from", "value"}, "rejected": {...}}   ShareGPT's
    {"context": [messages], "completions": [{"rank", "completion"}, ...]}      NeMo-RL's

The rest is data/forms/pairs.py. The optional keys of a pair (data/records.py) are taken along, with "id" and "split".
Without "id" a row is called "<file>-<n>" by its number; without "split" the file says it
(train; validation or test), or a share of the prompts is held out. Dropped as a tie: "strength" is 0.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from nemo_hs2pref.data.fields import UNNAMED
from nemo_hs2pref.data.groups import Dropped, Found, Kept, Split
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.rows import Reading
from nemo_hs2pref.data.reading.sources import Release, Table
from nemo_hs2pref.data.reading.split import parse_split
from nemo_hs2pref.data.records import PAIR_KEYS, PreferencePair, parse_pair

SPLIT_OF_FILE: dict[str, Split] = {"train": "train", "validation": "validation", "test": "validation"}
RELEASE = Release(
    None,
    ({"rows": "pairs.jsonl"}, {name: f"{name}.jsonl" for name in SPLIT_OF_FILE}),
    optional=frozenset({"validation", "test"}),
)


@dataclass(frozen=True)
class _Row:
    pair: PreferencePair
    split: Split | None


def read(tables: Mapping[str, Table], reading: Reading) -> Iterator[Found]:
    """The pairs of all files."""
    for key, table in tables.items():
        stem = table.paths[0].name.partition(".")[0]
        for line in reading.rows(table, _parse, PAIR_KEYS | {"split"}):
            pair = line.record.pair
            name = f"{stem}-{line.number}" if pair.id == UNNAMED else pair.id
            split = line.record.split or SPLIT_OF_FILE.get(key) or reading.split_of(pair.prompt)
            if not reading.is_new(name, line.where):
                continue
            if pair.strength == 0:
                yield Dropped("pairs", split, "tie", line.where, name)
            else:
                yield Kept("pairs", split, (replace(pair, id=name),), line.where)


def _parse(row: Row) -> _Row:
    named = row if row.get("id") is not None else {**row, "id": UNNAMED}
    return _Row(parse_pair(named), parse_split(row))
