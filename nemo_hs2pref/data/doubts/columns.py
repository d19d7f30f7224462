"""Columns of other people's pairs that say which response is better, beside chosen and rejected."""

import re
from collections.abc import Iterator

from nemo_hs2pref.data.fields import is_number
from nemo_hs2pref.data.jsonl import Row

GOOD = re.compile("score|rating|reward|grade|votes|likes|wins")  # more is better; not so of ranks and losses
MARGIN = re.compile(r"((score|rating|reward|preference)s?[_-])?(margin|diff|difference|gap)")
STATUS = ("status", "label", "result", "verdict")
NOT_PREFERRED = {"tie", "tied", "draw", "rejected", "discarded", "invalid"}  # in Argilla's records, for one


def contradicts(row: Row) -> bool:
    """Whether a column of a row with "chosen" and "rejected" says that the chosen response is not the better one.

    Equal scores contradict nothing, and what is no number says nothing.
    """
    if not {"chosen", "rejected"} <= row.keys():
        return False
    return (
        any(chosen < rejected for chosen, rejected in _scores(row))
        or any(MARGIN.fullmatch(key.lower()) and is_number(value) and value < 0 for key, value in row.items())
        or any(str(row.get(key)).strip().lower() in NOT_PREFERRED for key in STATUS)
    )


def _scores(row: Row) -> Iterator[tuple[float, float]]:
    """Numbers under keys that differ in the side alone, such as score_chosen and score_rejected."""
    for key, chosen in row.items():
        if "chosen" in key and GOOD.search(key.lower()):
            rejected = row.get(key.replace("chosen", "rejected"))
            if is_number(chosen) and is_number(rejected):
                yield chosen, rejected
