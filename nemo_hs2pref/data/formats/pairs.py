"""Chosen and rejected responses from anywhere, in the forms in which preference data is usually passed around.

    {"prompt": str or [messages], "chosen": str, "rejected": str}              the project's own pairs
    {"prompt": str or [messages], "chosen": [messages], "rejected": [...]}     responses as messages
    {"chosen": [messages], "rejected": [messages]}                             the prompt is what both begin with

Messages may begin with the prompt though it stands apart. The optional keys of a pair (data/records.py) are taken
along, with "id" and "split". Without "id" a row is called "<file>-<n>" by its number; without "split" the file says it
(train; validation or test), or a share of the prompts is held out. Dropped as a tie: "strength" is 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from nemo_hs2pref.data.fields import given
from nemo_hs2pref.data.groups import Dropped, Found, Kept, Split
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.rows import Reading
from nemo_hs2pref.data.reading.sources import Release, Table
from nemo_hs2pref.data.reading.split import parse_split
from nemo_hs2pref.data.records import PreferencePair, parse_pair
from nemo_hs2pref.errors import DataError

SPLIT_OF_FILE: dict[str, Split] = {"train": "train", "validation": "validation", "test": "validation"}
RELEASE = Release(
    None,
    ({"rows": "pairs.jsonl"}, {name: f"{name}.jsonl" for name in SPLIT_OF_FILE}),
    optional=frozenset({"validation", "test"}),
)
SIDES = ("chosen", "rejected")
UNNAMED = "-"


@dataclass(frozen=True)
class _Row:
    pair: PreferencePair
    split: Split | None


def read(tables: Mapping[str, Table], reading: Reading) -> Iterator[Found]:
    """The pairs of all files."""
    for key, table in tables.items():
        stem = table.paths[0].name.partition(".")[0]
        for line in reading.rows(table, _parse):
            pair = line.record.pair
            name = f"{stem}-{line.number}" if pair.id == UNNAMED else pair.id
            split = line.record.split or SPLIT_OF_FILE.get(key) or reading.split_of(pair.prompt)
            reason = "tie" if pair.strength == 0 else None
            if not reading.is_new(name, line.where):
                continue
            if reason is None:
                yield Kept("pairs", split, (replace(pair, id=name),), line.where)
            else:
                yield Dropped("pairs", split, reason, line.where, name)


def _parse(row: Row) -> _Row:
    named = row if row.get("id") is not None else {**row, "id": UNNAMED}
    return _Row(parse_pair(plain(named)), parse_split(row))


def plain(row: Row) -> Row:
    """The row in the first form; DataError where its messages have another shape."""
    sides = [given(row, side) for side in SIDES]
    if not any(isinstance(side, list) for side in sides):
        return row
    for name, side in zip(SIDES, sides, strict=True):
        if not isinstance(side, list) or not side or not all(isinstance(message, dict) for message in side):
            raise DataError(f'"{name}" is {side!r:.40}; expected a list of {{"role", "content"}}, as of the other side')
    prompt = _prompt(row, sides)
    responses = {name: _response(name, side, prompt) for name, side in zip(SIDES, sides, strict=True)}
    return {**row, "prompt": prompt, **responses}


def _prompt(row: Row, sides: Sequence[list[Row]]) -> list[Row]:
    """As given, or what both sides begin with before their last message."""
    if row.get("prompt") is None:
        both = zip(sides[0][:-1], sides[1][:-1], strict=False)
        return [first for first, _ in takewhile(lambda pair: pair[0] == pair[1], both)]
    prompt = row["prompt"]
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list):
        raise DataError(f'"prompt" is {prompt!r:.40}; expected text or a list of {{"role", "content"}}')
    return prompt


def _response(name: str, side: list[Row], prompt: list[Row]) -> object:
    """The text of the one message behind the prompt."""
    rest = side[len(prompt) :] if side[: len(prompt)] == prompt else side
    if len(rest) != 1 or rest[0].get("role") != "assistant":
        raise DataError(f'"{name}" has {len(rest)} messages behind the prompt; expected one, of the assistant')
    return rest[0].get("content")
