r"""HH-RLHF (arXiv 2204.05862): pairs of transcripts without a strength, for the regular Bradley-Terry loss.

A row is {"chosen", "rejected"}, each "\n\nHuman: ...\n\nAssistant: ..." and so on, ending with the assistant. The
common prompt is all but that last turn. Text is kept as it is, except the one space after a marker. The folder's name
becomes the pair's subset, test.jsonl the validation pairs. Dropped, by the first reason that applies to either side:

    bad_start           text before the first marker, or the assistant speaks first
    bad_turns           human and assistant do not take turns, or the assistant is not the last
    empty_turn          a turn without text; mostly a response
    different_prompts   the sides differ in more than the last turn

Of the 2,312 rows of harmless-base/test.jsonl 9 have bad_turns (5 of these with different prompts) and 4 an empty_turn.

HelpSteer2's baseline (arXiv 2406.08673, Table 3, "HH-RLHF"): one epoch [read]; regular Bradley-Terry, as there are
no strengths, on all four folders [inferred: the hub's default]. NeMo-Aligner's own reader of this data set, made for
KTO, takes the hub's default and test as validation, and drops what does not alternate or whose prompts differ [read];
empty_turn is ours.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nemo_hs2pref.data.fields import text
from nemo_hs2pref.data.groups import Dropped, Found, Kept, Split
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.rows import Reading
from nemo_hs2pref.data.reading.sources import Release, Table
from nemo_hs2pref.data.records import Message, PreferencePair, Role

SUBSETS = ("helpful-base", "helpful-online", "helpful-rejection-sampled", "harmless-base")
SPLIT_OF_FILE: dict[str, Split] = {"train": "train", "test": "validation"}
RELEASE = Release(
    "Anthropic/hh-rlhf",
    (
        {f"{subset}/{file}": f"{subset}/{file}.jsonl" for subset in SUBSETS for file in SPLIT_OF_FILE},
        {file: f"{file}.jsonl" for file in SPLIT_OF_FILE},  # one of these folders
    ),
)
MARKER = re.compile(r"\n\n(Human|Assistant): ?")
ROLE_OF_MARKER: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}


Transcript = tuple[Message, ...]


@dataclass(frozen=True)
class _Comparison:
    chosen: Transcript
    rejected: Transcript


def read(tables: Mapping[str, Table], reading: Reading) -> Iterator[Found]:
    """The pairs of each split; the n-th row (from 1) of a file has the id "<subset>-<file>-<n>"."""
    for key, table in tables.items():
        file = key.rpartition("/")[2]
        split = SPLIT_OF_FILE[file]
        for line in reading.rows(table, _parse, {"chosen", "rejected"}):
            name, reason = f"{table.folder}-{file}-{line.number}", _reason_to_drop(line.record)
            if reason is None:
                yield Kept("pairs", split, (_pair(line.record, name, table.folder),), line.where)
            else:
                yield Dropped("pairs", split, reason, line.where, name)


def split_transcript(transcript: str) -> Transcript:
    """The turns of a transcript, whatever their order; none where it does not start with a marker."""
    before, *rest = MARKER.split(transcript)
    if before:
        return ()
    return tuple(
        Message(ROLE_OF_MARKER[marker], content) for marker, content in zip(rest[::2], rest[1::2], strict=True)
    )


def _parse(row: Row) -> _Comparison:
    return _Comparison(split_transcript(text(row, "chosen")), split_transcript(text(row, "rejected")))


def _pair(row: _Comparison, name: str, subset: str) -> PreferencePair:
    return PreferencePair(name, row.chosen[:-1], row.chosen[-1].content, row.rejected[-1].content, subset=subset)


def _reason_to_drop(row: _Comparison) -> str | None:
    fault = _fault(row.chosen) or _fault(row.rejected)
    if fault is not None:
        return fault
    return "different_prompts" if row.chosen[:-1] != row.rejected[:-1] else None


def _fault(turns: Transcript) -> str | None:
    roles = [turn.role for turn in turns]
    if roles[:1] != ["user"]:
        return "bad_start"
    if roles != ["user", "assistant"] * (len(roles) // 2):
        return "bad_turns"
    return None if all(turn.content.strip() for turn in turns) else "empty_turn"
