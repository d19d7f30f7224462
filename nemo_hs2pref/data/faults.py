"""Malformed rows: all of a run are reported together, so that files are mended in one go, or left out and counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nemo_hs2pref.errors import DataError

MAX_SHOWN = 20
HINT = "; mend them, or leave them out with --on-bad-row skip"


class RefusedRows(DataError):
    """Well-formed rows that a model or its template cannot take: `reasons` by their ids."""

    def __init__(self, message: str, reasons: Mapping[str, str]) -> None:
        super().__init__(message)
        self.reasons = reasons


@dataclass
class BadRows:
    """Collects them over all files of a run; holds no more than `MAX_SHOWN`."""

    skip: bool = False  # leave them out, instead of stopping at the end of reading
    count: int = 0
    shown: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # (file:line, fault), the first ones

    def add(self, where: str, fault: DataError | str) -> None:
        self.count += 1
        if len(self.shown) < MAX_SHOWN:
            # What is quoted may hold half of a surrogate pair, which no file and no terminal takes.
            self.shown.append((where, str(fault).encode("utf-8", "backslashreplace").decode()))

    def refuse(self) -> None:
        """Raise one DataError for all, unless they are skipped."""
        if self.count and not self.skip:
            raise DataError(describe(self.shown, self.count, HINT))

    def as_reason(self) -> str:
        """What is to follow a sentence that says that nothing is left."""
        return f"; {describe(self.shown, self.count)}" if self.count else ""

    def to_json(self) -> dict[str, Any]:
        """What a manifest says of the rows that were skipped: how many, and the first ones."""
        return {"skipped": self.count, "first": [f"{where}: {fault}" for where, fault in self.shown]}


def describe(faults: Sequence[tuple[str, str]], count: int, hint: str = "") -> str:
    """(file:line, fault) as a sentence, or as one with a list below it; `faults` are the first of `count`."""
    if count == 1:
        return f"{faults[0][0]}: {faults[0][1]}{hint}"
    lines = "".join(f"\n  {where}: {fault}" for where, fault in faults)
    more = f"\n  and {count - len(faults)} more" if count > len(faults) else ""
    return f"{count} rows cannot be used{hint}:{lines}{more}"
