"""What the reports on all benchmarks say alike: in what the rows are not the benchmark as released."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Count:
    """Rows of a subset."""

    found: int
    released: int


def unofficial_counts(found: Mapping[str, int], released: Mapping[str, int]) -> dict[str, Count]:
    """The subsets that have not as many rows as were released."""
    counts = {name: Count(count, released[name]) for name, count in found.items()}
    return {name: count for name, count in counts.items() if count.found != count.released}


def gaps(incomplete: Mapping[str, Sequence[str]], counts: Mapping[str, Count]) -> Iterator[str]:
    """A line for everything in which the rows are not the benchmark; none where they are."""
    for section, lacking in incomplete.items():
        yield f"not scored: {section}, which lacks {', '.join(lacking)}"
    for name, count in counts.items():
        yield f"not as released: {name} has {count.found:,} rows, the release {count.released:,}"
