"""NeMo-RL's preference rows.

    {"context": [messages], "completions": [{"rank": 0, "completion": [message]}, {"rank": 1, "completion": [message]}]}

The lower rank is preferred [read: NeMo-RL's docs/guides/rm.md], by how much is not said; equal ranks are a tie.
"""

from typing import Any

from nemo_hs2pref.data.fields import given, integer
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.errors import DataError

KEYS = frozenset({"context", "completions"})
HIGHEST_RANK = 1_000_000


def fits(row: Row) -> bool:
    return row.keys() >= KEYS


def pair_row(row: Row) -> Row:
    """The row with "chosen" and "rejected"."""
    completions = given(row, "completions")
    if not isinstance(completions, list) or not all(isinstance(one, dict) for one in completions):
        raise DataError(f'"completions" is {completions!r:.40}; expected a list of {{"rank", "completion"}}')
    if len(completions) != 2:
        raise DataError(f'"completions" has {len(completions)} of them; expected two, as a pair is trained on')
    ranks = [integer(one, "rank", 0, HIGHEST_RANK) for one in completions]
    better = 0 if ranks[0] <= ranks[1] else 1
    rest = {key: value for key, value in row.items() if key != "completions"}
    tie: dict[str, Any] = {"strength": 0} if ranks[0] == ranks[1] else {}
    chosen, rejected = (given(completions[side], "completion") for side in (better, 1 - better))
    return {**rest, "chosen": chosen, "rejected": rejected, **tie}
