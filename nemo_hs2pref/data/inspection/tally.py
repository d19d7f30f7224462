"""Lengths and random rows of a stream, in memory that does not grow with it."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import ceil
from typing import Any, Generic, TypeVar

T = TypeVar("T")
EXACT_BITS = 11  # lengths below 2 ** 11 = 2,048 are exact, longer ones rounded up by less than 0.1 %


class Lengths:
    """How often each length occurred, with at most 1,024 counters an octave however many rows there are.

    Powers of two are exact, so that `above` is right for the usual context lengths.
    """

    def __init__(self, lengths: Iterable[int] = ()) -> None:
        self.counts: Counter[int] = Counter()
        self.number = 0
        self.max = 0
        for length in lengths:
            self.add(length)

    def add(self, length: int) -> None:
        step = 1 << max(length.bit_length() - EXACT_BITS, 0)
        self.counts[-(-length // step) * step] += 1
        self.number += 1
        self.max = max(self.max, length)

    def quantile(self, share: float) -> int:
        """The smallest length that at least `share` of the rows do not exceed; 0 of no rows."""
        rank = max(ceil(share * self.number), 1)
        lengths = sorted(self.counts)
        reached = accumulate(self.counts[length] for length in lengths)
        return next((min(length, self.max) for length, rows in zip(lengths, reached, strict=True) if rows >= rank), 0)

    def above(self, limit: int) -> int:
        """Rows that are longer than `limit`, a power of two or below 2,048."""
        return sum(rows for length, rows in self.counts.items() if length > limit)

    def to_json(self, limits: Sequence[int] = ()) -> dict[str, Any]:
        quantiles = {"median": self.quantile(0.5), "p95": self.quantile(0.95), "p99": self.quantile(0.99)}
        above = {"above": {str(limit): self.above(limit) for limit in limits}} if limits else {}
        return {"number": self.number, **quantiles, "max": self.max, **above}


class Values:
    """The mean of numbers, exactly, and how many there were of each, rounded to integers."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.number = 0
        self._total = 0.0

    def add(self, value: float) -> None:
        self.counts[round(value)] += 1
        self.number += 1
        self._total += value

    @property
    def mean(self) -> float:
        return self._total / self.number if self.number else 0.0

    def to_json(self) -> dict[str, Any]:
        counts = {str(value): self.counts[value] for value in sorted(self.counts)}
        return {"number": self.number, "mean": self.mean, "rounded": counts}


class Reservoir(Generic[T]):
    """At most `size` items of a stream, each with the same chance, in the order in which they came."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._random = random.Random(seed)
        self._kept: list[tuple[int, T]] = []
        self._seen = 0

    def add(self, item: T) -> None:
        place = self._seen if self._seen < self._size else self._random.randrange(self._seen + 1)
        if place < len(self._kept):
            self._kept[place] = (self._seen, item)
        elif place < self._size:
            self._kept.append((self._seen, item))
        self._seen += 1

    def items(self) -> list[T]:
        return [item for _, item in sorted(self._kept, key=lambda kept: kept[0])]
