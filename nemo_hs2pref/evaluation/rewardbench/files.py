"""RewardBench's pairs: from the hub, from a copy of its files, or from a pairs file with its subsets' names.

A row is {"prompt": str or [messages], "chosen", "rejected", "subset", "id"?}. The prior sets are another repository of
the hub, one file a set; their messages and responses have the same form, and the file is the subset.
"""

from collections.abc import Mapping
from pathlib import Path

from nemo_hs2pref.data.fields import integer, text
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.sources import Release, Table, open_tables
from nemo_hs2pref.data.records import PROMPT_KEYS, PreferencePair
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.benchmark_files import Benchmark, open_benchmark, parse_name, parse_prompt, read_tables
from nemo_hs2pref.evaluation.rewardbench.sections import PRIOR_SETS

READ = PROMPT_KEYS | {"id", "chosen", "rejected", "subset", "strength", "chosen_model", "rejected_model"}
CORE = "filtered"  # the hub's split; the other, raw, holds pairs that the benchmark left out
RELEASE = Release(
    "allenai/reward-bench",
    ({CORE: f"data/{CORE}.jsonl"}, {CORE: f"{CORE}.jsonl"}, {CORE: "pairs.jsonl"}),
    hub_files={CORE: f"data/{CORE}-00000-of-00001.parquet"},
)
PRIOR_RELEASE = Release(
    "allenai/preference-test-sets",
    ({name: f"data/{name}.jsonl" for name in PRIOR_SETS}, {name: f"{name}.jsonl" for name in PRIOR_SETS}),
    hub_files={name: f"data/{name}-00000-of-00001.parquet" for name in PRIOR_SETS},
)


def load_rewardbench(
    source: str, *, revision: str | None = None, prior_sets: bool = False
) -> Benchmark[PreferencePair]:
    """All pairs of a source, and where they come from.

    Ids are unique: where they are not in the files (the hub's count from 0 in every subset), all of them become
    "<subset>/<id>". An empty response is a response here.

    Args:
        source: a hub id such as `allenai/reward-bench`, a folder with its files, or one file.
        revision: of the hub's repository.
        prior_sets: the four prior sets too, from their own repository of the hub, or from the same folder; a single
            file must have them among its rows.

    Raises:
        DataError: a missing file, a failed download, or faulty rows, all in one message.
        InstallationError: a hub id or a Parquet file without the package that reads it.
    """
    tables = open_benchmark(source, RELEASE, revision)
    if prior_sets:
        tables |= _prior_tables(source)
    benchmark = read_tables(tables, _parse, READ)
    absent = PRIOR_SETS.keys() - {pair.subset for pair in benchmark.records}
    if prior_sets and absent:
        raise DataError(f"{source}: no rows of the prior sets {', '.join(sorted(absent))}; leave the prior sets out")
    return benchmark


def _prior_tables(source: str) -> Mapping[str, Table]:
    if Path(source).is_file():
        return {}
    return open_tables(source if Path(source).is_dir() else str(PRIOR_RELEASE.hub_id), PRIOR_RELEASE)


def _parse(table: str, number: int, row: Row) -> PreferencePair:
    subset = table if table in PRIOR_SETS else row.get("subset")  # their column of that name says something else
    return PreferencePair(
        id=parse_name(row, number),
        prompt=parse_prompt(row),
        chosen=text(row, "chosen"),
        rejected=text(row, "rejected"),
        strength=None if row.get("strength") is None else integer(row, "strength", 1, 3),
        subset=None if subset is None else text({"subset": subset}, "subset"),
    )
