"""`--swap-responses`: the two responses of a pair in the other order with probability 1/2, and what that changed."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from nemo_hs2pref.data.groups import Record
from nemo_hs2pref.data.justifier import swap_responses
from nemo_hs2pref.data.records import RatedResponse

Group = tuple[Record, ...]


class Swaps:
    """Exchanges, and counts what it changed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._changed: Counter[str] = Counter()  # output -> groups
        self._could: Counter[str] = Counter()

    def of(self, groups: Iterable[Group], output: str) -> Iterator[Group]:
        """The groups of an output, each swapped or not; only the seed and their order decide which."""
        chance = random.Random(f"swap {self.seed} {output}")
        self._changed[output] = self._could[output] = 0
        for group in groups:
            other = swapped(group)
            self._could[output] += other != group
            if chance.random() < 0.5:
                self._changed[output] += other != group
                group = other
            yield group

    def to_json(self) -> dict[str, dict[str, int]]:
        """{output: {"swapped": groups that are now another, "swappable": groups that could have been}}"""
        return {output: {"swapped": self._changed[output], "swappable": could} for output, could in self._could.items()}


def swapped(group: Sequence[Record]) -> Group:
    """The group as if the annotators had seen its responses in the other order; twice gives it back."""
    return tuple(_swapped(record) for record in reversed(group))


def _swapped(record: Record) -> Record:
    if isinstance(record, RatedResponse):
        return record
    position, reason = record.chosen_position, record.justification
    return replace(
        record,
        chosen_position=None if position is None else 3 - position,
        justification=None if reason is None else swap_responses(reason),
    )
