"""All records of one file at once, with an account of what was left out of it."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from nemo_hs2pref.data.faults import HINT, BadRows, describe
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.row_files import rows_of
from nemo_hs2pref.data.unread import unread
from nemo_hs2pref.errors import DataError

Record = TypeVar("Record")


@dataclass
class Account:
    """What a command has to say of the rows that it read."""

    bad_rows: BadRows = field(default_factory=BadRows)
    may_skip: bool = False  # whether the command has --on-bad-row
    ignored: Counter[str] = field(default_factory=Counter[str])  # key that is not read -> rows that have it


def collect(
    path: str | Path,
    parse: Callable[[Row], Record],
    read: Collection[str] | None = None,
    identify: Callable[[Record], str] | None = None,
    account: Account | None = None,
) -> list[Record]:
    """Parse all rows and report all faults together, so that a file is mended in one go.

    Args:
        path: the file.
        parse: makes a record of an object, or raises DataError with the fault alone.
        read: the keys that `parse` reads; None: a file of our own, whose further keys mean nothing.
        identify: the id of a record, where ids must be unique.
        account: what was left out; its bad rows may be skipped.

    Raises:
        DataError: names the file and up to 20 of its faulty lines.
    """
    account = account or Account()
    records: list[Record] = []
    line_of_id: dict[str, int] = {}
    for number, row in rows_of(path):
        try:
            if isinstance(row, DataError):
                raise row
            ignored = [] if read is None else unread(row, read)
            record = parse(row)
            if identify is not None:
                first = line_of_id.setdefault(identify(record), number)
                if first != number:
                    raise DataError(f'"id" {identify(record)!r} stands in line {first} already')
        except DataError as fault:
            account.bad_rows.add(f"{path}:{number}", fault)
            continue
        account.ignored.update(ignored)
        records.append(record)
    if account.bad_rows.count and not account.bad_rows.skip:
        hint = HINT if account.may_skip else ""
        raise DataError(describe(account.bad_rows.shown, account.bad_rows.count, hint))
    return records
