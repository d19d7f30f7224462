"""RewardBench 2's prompts: from the hub, or from a copy of its file.

A row is {"id", "prompt": str or [messages], "chosen": [str], "rejected": [str], "subset"}; "num_correct",
"num_incorrect" and "total_completions" must fit where they are given, and further columns are passed over.
"""

from nemo_hs2pref.data.fields import given, text
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.sources import Release
from nemo_hs2pref.data.records import PROMPT_KEYS
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.benchmark_files import Benchmark, open_benchmark, parse_name, parse_prompt, read_tables
from nemo_hs2pref.evaluation.rewardbench2.items import DOMAINS, Item

SPLIT = "test"
COUNTS = ("num_correct", "num_incorrect", "total_completions")
READ = PROMPT_KEYS | {"id", "chosen", "rejected", "subset", "models", "additional_metadata", *COUNTS}
RELEASE = Release(
    "allenai/reward-bench-2",
    ({SPLIT: f"data/{SPLIT}.jsonl"}, {SPLIT: f"{SPLIT}.jsonl"}),
    hub_files={SPLIT: f"data/{SPLIT}-00000-of-00001.parquet"},
)
DOMAIN_OF_NAME = {name.lower(): name for name in DOMAINS}


def load_rewardbench2(source: str, *, revision: str | None = None) -> Benchmark[Item]:
    """All prompts of a source, and where they come from; ids, empty responses and errors as in load_rewardbench.

    Args:
        source: a hub id such as `allenai/reward-bench-2`, a folder with its file, or the file.
        revision: of the hub's repository.
    """
    return read_tables(open_benchmark(source, RELEASE, revision), _parse, READ)


def _parse(table: str, number: int, row: Row) -> Item:
    name = text(row, "subset")
    item = Item(
        id=parse_name(row, number),
        prompt=parse_prompt(row),
        chosen=_completions(row, "chosen"),
        rejected=_completions(row, "rejected"),
        subset=DOMAIN_OF_NAME.get(name.lower(), name),
    )
    correct, wrong = len(item.chosen), len(item.rejected)
    for key, count in zip(COUNTS, (correct, wrong, correct + wrong), strict=True):
        if row.get(key) not in (None, count):
            raise DataError(f'"{key}" is {row[key]!r:.40}, and the row has {count}')
    return item


def _completions(row: Row, key: str) -> tuple[str, ...]:
    value = given(row, key)
    if not isinstance(value, list):
        raise DataError(f'"{key}" is {value!r:.40}; expected a list of completions')
    return tuple(text({key: completion}, key) for completion in value)
