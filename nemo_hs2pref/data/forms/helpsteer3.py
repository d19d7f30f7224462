"""HelpSteer3's preference rows (arXiv 2505.11475), in the words of HelpSteer2-Preference.

    {"domain", "language", "context": [messages], "response1", "response2", "overall_preference": -3..3,
     "individual_preference": [{"score", "reasoning", ...}, ...]}

-3: response 1 is much better; 3: response 2 is much better; 0: about the same, a tie [read: its dataset card]. As in
HelpSteer2-Preference the sign says which response is chosen, and the absolute value is the strength. The domain (code,
general, stem, multilingual) becomes the pair's subset.
"""

from nemo_hs2pref.data.fields import given, integer
from nemo_hs2pref.data.jsonl import Row

RESPONSES = ("response1", "response2")
OVERALL = "overall_preference"
KEYS = frozenset({"context", *RESPONSES, OVERALL, "domain"})
UNUSED = frozenset({"language", "individual_preference"})  # known columns of the release that are not read


def fits(row: Row) -> bool:
    return row.keys() >= {"context", *RESPONSES, OVERALL}


def pair_row(row: Row) -> Row:
    """The row with "chosen", "rejected", "strength", "chosen_position" and "subset"."""
    strength = integer(row, OVERALL, -3, 3)
    responses = [given(row, key) for key in RESPONSES]
    better = 1 if strength > 0 else 0
    rest = {key: value for key, value in row.items() if key not in KEYS}
    return {
        **rest,
        "context": row["context"],
        "chosen": responses[better],
        "rejected": responses[1 - better],
        "strength": abs(strength),
        "chosen_position": better + 1,
        "subset": row.get("domain", row.get("subset")),
    }
