"""From a data set to the files that training reads, with a manifest that says what happened to every row.

    ratings.train.jsonl, ratings.validation.jsonl       one rated response a row, those of a pair or prompt together
    pairs.train.jsonl, pairs.validation.jsonl           one oriented pair a row, ties left out
    sft.train.jsonl and so on                           what else was asked for (data/preparation/views.py)
    dropped.jsonl                                       every row that was left out, and why
    manifest.json                                       source, hashes, counts, reasons, doubts, seed, statistics

Written are those that the format has. Rows are shuffled by pair or prompt. The same source and options give the same
bytes, in memory that does not grow with the source: rows wait on disk (data/reading/scratch.py).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_hs2pref import __version__
from nemo_hs2pref.data.faults import BadRows
from nemo_hs2pref.data.formats import aligner as aligner_rows
from nemo_hs2pref.data.formats import annotated_tasks, helpsteer, helpsteer2, helpsteer3, hh_rlhf, oasst, official
from nemo_hs2pref.data.formats import pairs as pair_files
from nemo_hs2pref.data.groups import KINDS, SPLITS, Found
from nemo_hs2pref.data.preparation.drop_log import DropLog
from nemo_hs2pref.data.preparation.length import LengthLimit
from nemo_hs2pref.data.preparation.output import MANIFEST, require_replaceable, whole_folder
from nemo_hs2pref.data.preparation.swaps import Swaps
from nemo_hs2pref.data.preparation.writing import Writer
from nemo_hs2pref.data.reading.rows import Reading
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.data.reading.sources import Release, Table, open_tables
from nemo_hs2pref.data.reading.split import VALIDATION_SHARE
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.files import sha256, write_json

TOOL = "data prepare"
PICTURE = "statistics.png"
DEFAULT_SEED = 1234


@dataclass(frozen=True)
class Format:
    """How one data set is published, and what its files are read into."""

    release: Release
    read: Callable[[Mapping[str, Table], Reading], Iterator[Found]]


FORMATS = {
    "helpsteer2": Format(helpsteer2.RELEASE, helpsteer2.read),
    "helpsteer3": Format(helpsteer3.RELEASE, helpsteer3.read),
    "helpsteer": Format(helpsteer.RELEASE, helpsteer.read),
    "hh-rlhf": Format(hh_rlhf.RELEASE, hh_rlhf.read),
    "oasst": Format(oasst.RELEASE, oasst.read),
    "annotations": Format(annotated_tasks.RELEASE, annotated_tasks.read),
    "pairs": Format(pair_files.RELEASE, pair_files.read),
    "aligner": Format(aligner_rows.RELEASE, aligner_rows.read),
}
DEFAULT_FORMAT = "helpsteer2"


@dataclass(frozen=True)
class Options:
    """How a source is prepared."""

    format_name: str = DEFAULT_FORMAT  # which data set it is, a name of FORMATS
    seed: int = DEFAULT_SEED  # of the shuffle and of the swap
    limit: LengthLimit | None = None  # drops responses (ratings) and pairs with a longer text; None keeps all
    also: tuple[str, ...] = ()  # further files, names of VIEWS
    swap_responses: bool = False  # change the order of the two responses of every other pair, by chance
    validation_share: float = VALIDATION_SHARE  # of the prompts that is held out, where the source does not say
    skip_bad_rows: bool = False  # leave malformed rows out instead of stopping
    strict: bool = False  # stop where the source is not the official release

    def to_json(self) -> dict[str, Any]:
        return {
            "format": self.format_name,
            "seed": self.seed,
            "length_limit": self.limit.to_json() if self.limit else None,
            "also": list(self.also),
            "swap_responses": self.swap_responses,
            "validation_share": self.validation_share,
        }


def prepare(
    source: str,
    out: str | Path,
    options: Options = Options(),
    draw: Callable[..., bool] | None = None,
) -> dict[str, Any]:
    """Write the prepared files into `out`, whole or not at all, and return the manifest.

    Args:
        source: `sample` (HelpSteer2 only), a folder with the official files, one of them, or a hub id.
        out: a folder that is new, empty, or from an earlier run of this command.
        options: see there.
        draw: `plot_statistics`, which this module may not import, or None for no picture.

    Raises:
        DataError: the source is missing or malformed, `out` holds something else, or nothing is left to train on.
    """
    out = Path(out).resolve()  # a link stays, and what it leads to is replaced
    require_replaceable(out, TOOL)
    form = FORMATS[options.format_name]
    if options.limit is not None:
        options.limit.require_tokenizer()  # before minutes of reading
    tables = open_tables(source, form.release)
    with whole_folder(out, TOOL) as folder, Scratch(folder / ".rows.sqlite") as scratch:
        reading = Reading(scratch, BadRows(options.skip_bad_rows), options.validation_share)
        with DropLog(folder, scratch) as drops:
            for found in form.read(tables, reading):
                drops.take(found)
            reading.bad_rows.refuse()
            if not reading.num_rows.total():
                raise DataError(f"{source}: has no rows; expected those of {options.format_name}")
            release = _release(source, options, tables, reading, drops)
            swaps = Swaps(options.seed) if options.swap_responses else None
            writer = Writer(folder, reading, options.seed, options.limit, options.also, swaps, drops.drop)
            kinds = drops.kinds()
            if not kinds:
                raise DataError(f"{source}: has no row that can be used{reading.bad_rows.as_reason()}")
            entries = writer.write(kinds)
            reading.bad_rows.refuse()  # again: a template may have refused some
            outputs = drops.complete(entries)
        statistics = drops.statistics.to_json()
        if draw is not None and draw(statistics, folder / PICTURE, published=release is not None):
            outputs[PICTURE] = {"sha256": sha256(folder / PICTURE)}
        manifest = {
            **{"tool": TOOL, "version": __version__, "source": source},
            **options.to_json(),
            "inputs": reading.describe(tables),
            "release": release,
            "bad_rows": reading.bad_rows.to_json(),
            "doubts": reading.doubts.to_json(),
            "swapped": swaps.to_json() if swaps else None,
            "ignored_keys": dict(sorted(reading.ignored.items())),
            "outputs": outputs,
            "statistics": statistics,
        }
        write_json(folder / MANIFEST, manifest, DataError)
    return manifest


def _release(
    source: str, options: Options, tables: Mapping[str, Table], reading: Reading, drops: DropLog
) -> dict[str, Any] | None:
    """What the manifest says of a source that should be HelpSteer2; raises DataError where --strict is broken."""
    if not official.is_meant(options.format_name, source):
        return None
    rows = {key: reading.num_rows[table.name] for key, table in tables.items()}
    kept = {f"{kind}.{split}": drops.scratch.count(f"{kind}.{split}") for kind in KINDS for split in SPLITS}
    found = list(official.differences(tables, rows, kept, drops.dropped))
    if reading.bad_rows.count:
        found.append(f"{reading.bad_rows.count:,} malformed rows were skipped")
    uncompared = list(official.uncompared(tables))
    if options.strict and (found or uncompared):
        listed = "".join(f"\n  {difference}" for difference in [*found, *uncompared])
        raise DataError(f"{source}: is not HelpSteer2 as released, and --strict asks for it:{listed}")
    return {"revision": helpsteer2.RELEASE.revision, "differences": found, "uncompared": uncompared}
