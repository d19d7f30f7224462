"""What the released files are known to be, and whether a source is that.

Rows and hashes are those of nvidia/HelpSteer2 at the revision that is downloaded; the numbers of pairs are the
paper's (arXiv 2410.01257).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nemo_hs2pref.data.groups import SPLITS, Split
from nemo_hs2pref.data.reading.sources import Table


@dataclass(frozen=True)
class File:
    """A file of the release, gzipped."""

    rows: int
    sha256: str


FILES = {
    "train": File(20_324, "c0d7e91d738d42e8a08070db26c4c09a9c7631308e1f0fd380ff43d130c9f713"),
    "validation": File(1_038, "610eeb5289494d613c4c0f70aade2df8df0b499f3a24e76d232f74e6909d010a"),
    "preference": File(9_125, "a5cd48600fb7a330cf0ccc8f59051e24e8f236907c379f42eff1ba18da55204b"),
    "disagreements": File(23_652, "53435e0e2926620bf08ce91f278d7368ee6903f416a47764fe8839f3b71b3ab4"),
}
PREFERENCE_ROWS: dict[Split, int] = {"train": 8_677, "validation": 448}
PAIRS: dict[Split, int] = {"train": 6_766, "validation": 352}


def is_meant(format_name: str, source: str) -> bool:
    """Whether a source should be HelpSteer2 as released: it is compared, and stands beside the papers' figures."""
    return format_name == "helpsteer2" and source != "sample"


def uncompared(tables: Mapping[str, Table]) -> Iterator[str]:
    """A sentence for every file that may be the release's and cannot be told by its hash."""
    for table in tables.values():
        if not table.is_as_downloaded:
            yield f"{table.name} is not as downloaded (.gz), so that its SHA-256 cannot be compared"


def differences(
    tables: Mapping[str, Table],
    num_rows: Mapping[str, int],
    kept: Mapping[str, int],
    dropped: Mapping[str, Mapping[str, int]],
) -> Iterator[str]:
    """A sentence for everything in which a source is not the release; none where it is.

    Args:
        tables: of the source.
        num_rows: rows of each table.
        kept: "pairs.train" and so on -> groups that were kept, before any length limit.
        dropped: the same names -> rows dropped, by reason.
    """
    for name, table in tables.items():
        yield from _differences_of_file(table, num_rows[name], FILES[name])
    if "preference" in tables:
        for split in SPLITS:
            yield from _differences_of_pairs(split, kept[f"pairs.{split}"], dropped[f"pairs.{split}"])


def _differences_of_file(table: Table, num_rows: int, known: File) -> Iterator[str]:
    if num_rows != known.rows:
        yield f"{table.name} has {num_rows:,} rows, the release {known.rows:,}"
    elif table.is_as_downloaded and table.sha256 != known.sha256:
        yield f"{table.name} has as many rows as the release and another SHA-256, {table.sha256}, not {known.sha256}"


def _differences_of_pairs(split: Split, kept: int, dropped: Mapping[str, int]) -> Iterator[str]:
    """The paper's pairs are the released rows without ties [inferred: 9,125 rows, 7,118 pairs]."""
    if kept + dropped.get("equal_responses", 0) == PAIRS[split]:  # which the paper does not speak of
        return
    reasons = "".join(f" - {count:,} {reason}" for reason, count in sorted(dropped.items()))
    rows = kept + sum(dropped.values())
    yield (
        f"pairs.{split} has {kept:,} pairs, the paper {PAIRS[split]:,}: "
        f"{rows:,} rows{reasons}; the release has {PREFERENCE_ROWS[split]:,} rows"
    )
