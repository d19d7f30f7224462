"""From a published data set to the files that training reads, with a manifest that says what happened to every row.

    ratings.train.jsonl, ratings.validation.jsonl       one rated response a row, those of a pair or prompt together
    pairs.train.jsonl, pairs.validation.jsonl           one oriented pair a row, ties left out; with the ratings of
                                                        its responses where the split's ratings have both
    manifest.json                                       format, source, hashes, counts, reasons, seed, length limit

Written are those that the format has. Rows are shuffled by pair or prompt. The same source, seed and length limit
give the same bytes.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from nemo_hs2pref import __version__
from nemo_hs2pref.data import helpsteer, helpsteer2, hh_rlhf, oasst
from nemo_hs2pref.data.groups import Groups, Outputs, Record
from nemo_hs2pref.data.jsonl import sha256, write_json, write_jsonl
from nemo_hs2pref.data.length import LengthLimit
from nemo_hs2pref.data.output import MANIFEST, require_replaceable, whole_folder
from nemo_hs2pref.data.records import PreferencePair
from nemo_hs2pref.data.sources import Release, Table, open_tables
from nemo_hs2pref.errors import DataError

TOOL = "data prepare"
DEFAULT_SEED = 1234


@dataclass(frozen=True)
class Format:
    """How one data set is published, and what its files are read into."""

    release: Release
    read: Callable[[Mapping[str, Table]], Outputs]


FORMATS = {
    "helpsteer2": Format(helpsteer2.RELEASE, helpsteer2.read),
    "helpsteer": Format(helpsteer.RELEASE, helpsteer.read),
    "hh-rlhf": Format(hh_rlhf.RELEASE, hh_rlhf.read),
    "oasst": Format(oasst.RELEASE, oasst.read),
}
DEFAULT_FORMAT = "helpsteer2"


def prepare(
    source: str,
    out: str | Path,
    *,
    format_name: str = DEFAULT_FORMAT,
    seed: int = DEFAULT_SEED,
    limit: LengthLimit | None = None,
) -> dict[str, Any]:
    """Write the prepared files into `out`, whole or not at all, and return the manifest.

    Args:
        source: `sample` (HelpSteer2 only), a folder with the official files, one of them, or a hub id.
        out: a folder that is new, empty, or from an earlier run of this command.
        format_name: which data set it is, a name of FORMATS.
        seed: of the shuffle.
        limit: drops responses (ratings) and pairs with a longer text; None keeps all.

    Raises:
        DataError: the source is missing or malformed, `out` holds something else, or nothing is left to train on.
    """
    out = Path(out)
    require_replaceable(out, TOOL)
    form = FORMATS[format_name]
    tables = open_tables(source, form.release)
    outputs = {name: _finish(name, groups, seed, limit) for name, groups in form.read(tables).items()}
    with whole_folder(out, TOOL) as folder:
        for name, (records, _) in outputs.items():
            write_jsonl(folder / name, (record.to_json() for record in records))
        manifest = {
            "tool": TOOL,
            "version": __version__,
            "format": format_name,
            "source": source,
            "seed": seed,
            "length_limit": limit.to_json() if limit else None,
            "inputs": {name: {"rows": len(table.lines), "sha256": table.sha256} for name, table in tables.items()},
            "outputs": {
                name: _describe(folder / name, records, dropped) for name, (records, dropped) in outputs.items()
            },
        }
        write_json(folder / MANIFEST, manifest)
    return manifest


def _finish(name: str, groups: Groups, seed: int, limit: LengthLimit | None) -> tuple[list[Record], Counter[str]]:
    """Shuffle by pair, then drop what is too long: a limit changes which rows are there, not their order."""
    kept, dropped = list(groups[0]), Counter(groups[1])
    random.Random(f"{seed} {name}").shuffle(kept)
    records = list(chain.from_iterable(kept))
    if limit is not None:
        fits = limit.fits(records)
        dropped["too_long"] = fits.count(False)
        records = [record for record, fit in zip(records, fits, strict=True) if fit]
    if not records and "train" in name:
        reasons = ", ".join(f"{reason} {count}" for reason, count in dropped.items()) or "the source has none"
        raise DataError(f"{name}: no row is left to train on ({reasons})")
    return records, dropped


def _describe(path: Path, records: Sequence[Record], dropped: Counter[str]) -> dict[str, Any]:
    """The manifest's entry of one output file; of pairs it says how many carry ratings."""
    entry: dict[str, Any] = {"rows": len(records), "sha256": sha256(path), "dropped": dict(sorted(dropped.items()))}
    if path.name.startswith("pairs."):
        entry["with_ratings"] = sum(
            isinstance(pair, PreferencePair) and bool(pair.chosen_attributes) for pair in records
        )
    return entry
