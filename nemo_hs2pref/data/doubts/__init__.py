"""Rows that can be used and may not be meant: counted and told, never dropped.

texts       a text that is templated already, or responses that begin with the prompt
columns     scores or a status beside chosen and rejected that contradict them
overlaps    the same prompt or pair in training and validation, twice, or in both directions
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

SHOWN = 3

# Word -> what follows the number of them.
IN_ROWS = {
    "templated_text": (
        "rows hold markers of a chat template or a transcript, which a model reads as words of a turn; "
        "take the text apart into messages"
    ),
    "prompt_in_responses": "rows have responses that begin with the prompt, which a model reads twice; cut it off",
    "contradicting_columns": (
        "rows have a score, rating, margin or status beside chosen and rejected that contradicts them; "
        "see which of the two is right"
    ),
}
BETWEEN_ROWS = {
    "prompts_in_both_splits": (
        "prompts stand in training and in validation; figures of the validation rows with them say nothing of new "
        "prompts"
    ),
    "pairs_in_both_splits": "pairs stand in training and in validation, so that their validation measures memory",
    "duplicates": "rows repeat the text of an earlier row of their file",
    "contradicting_pairs": "pairs stand in the data with chosen and rejected exchanged as well",
}
SENTENCES = IN_ROWS | BETWEEN_ROWS


class Doubts:
    """How many there are of each word, and the first few by name."""

    def __init__(self, words: Mapping[str, str] = SENTENCES) -> None:
        self.words = words
        self.counts: Counter[str] = Counter()
        self._first: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, word: str, name: str) -> None:
        self.put(word, 1, name)

    def put(self, word: str, count: int, name: str) -> None:
        self.counts[word] += count
        if count and len(self._first[word]) < SHOWN:
            self._first[word].append(name)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """All words, so that none tells that it was looked for."""
        return {word: {"count": self.counts[word], "first": self._first[word]} for word in self.words}


def sentences(doubts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """One of each word that there is something of, from what `to_json` makes."""
    for word, found in doubts.items():
        if found["count"]:
            names = ", ".join(map(repr, found["first"]))
            yield f"{found['count']:,} {SENTENCES[word]} (such as {names})"
