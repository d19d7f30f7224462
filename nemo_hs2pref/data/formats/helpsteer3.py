"""HelpSteer3-Preference (arXiv 2505.11475): pairs with strengths on general, STEM, code and multilingual prompts.

A row is turned as data/forms/helpsteer3.py says; the single annotations are not used. Dropped, with the reason:

    tie                the overall preference is 0
    empty_response     a response without text
    bad_turns          the turns of the context do not alternate, or one is empty
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nemo_hs2pref.data.fields import text
from nemo_hs2pref.data.formats.usable import fault_of_turns
from nemo_hs2pref.data.forms.helpsteer3 import KEYS, UNUSED, pair_row
from nemo_hs2pref.data.forms.prompt import SYSTEM_KEYS
from nemo_hs2pref.data.groups import SPLITS, Dropped, Found, Kept
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.rows import Reading
from nemo_hs2pref.data.reading.sources import Release, Table
from nemo_hs2pref.data.records import Message, PreferencePair, parse_messages

RELEASE = Release(
    "nvidia/HelpSteer3",
    ({split: f"preference/{split}.jsonl" for split in SPLITS}, {split: f"{split}.jsonl" for split in SPLITS}),
    optional=frozenset({"validation"}),
)


@dataclass(frozen=True)
class _Row:
    context: tuple[Message, ...]
    chosen: str
    rejected: str
    strength: int
    chosen_position: int
    domain: str | None


def read(tables: Mapping[str, Table], reading: Reading) -> Iterator[Found]:
    """The oriented pairs of each split; the n-th row (from 1) of a file has the id "<split>-<n>"."""
    for split in SPLITS:
        if split not in tables:
            continue
        for line in reading.rows(tables[split], _parse, KEYS.union(UNUSED, SYSTEM_KEYS)):
            row, name = line.record, f"{split}-{line.number}"
            reason = _reason_to_drop(row)
            if reason is not None:
                yield Dropped("pairs", split, reason, line.where, name)
                continue
            sides = (row.context, row.chosen, row.rejected)
            pair = PreferencePair(name, *sides, row.strength, row.domain, chosen_position=row.chosen_position)
            yield Kept("pairs", split, (pair,))


def _parse(row: Row) -> _Row:
    own = pair_row(row)
    return _Row(
        context=parse_messages(own, "context", last="user"),
        chosen=text(own, "chosen"),
        rejected=text(own, "rejected"),
        strength=own["strength"],
        chosen_position=own["chosen_position"],
        domain=None if own["subset"] is None else text(own, "subset"),
    )


def _reason_to_drop(row: _Row) -> str | None:
    if row.strength == 0:
        return "tie"
    return fault_of_turns(row.context, row.chosen, row.rejected)
