"""Benchmarks from the hub and from files: ids, empty responses, revisions and bad rows."""

import hashlib
import json
import subprocess
import sys

import pyarrow as pa
import pytest
from hub_server import COMMIT, environment, serve
from pyarrow import parquet

from nemo_hs2pref.data.records import Message, read_pairs, write_jsonl
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.rewardbench import load_rewardbench
from nemo_hs2pref.evaluation.rewardbench.sections import PRIOR_SETS
from nemo_hs2pref.evaluation.rewardbench2 import load_rewardbench2

MESSAGES = [
    {"content": "Hi", "role": "user"},
    {"content": "Hello", "role": "assistant"},
    {"content": "Why?", "role": "user"},
]


def core_row(number=0, subset="math-prm", **changes):
    """As on the hub, where numbers repeat from subset to subset."""
    row = {
        "prompt": "Why?",
        "chosen": "yes",
        "chosen_model": "m",
        "rejected": "",
        "rejected_model": "",
        "subset": subset,
    }
    return {**row, "id": number, **changes}


def prior_row(number=0):
    return {"prompt": MESSAGES, "chosen": "yes", "rejected": "no", "subset": "another column's", "id": number}


def row2(name, subset, chosen=("yes",), rejected=("a", "b", "c")):
    counts = {"num_correct": len(chosen), "num_incorrect": len(rejected)}
    counts["total_completions"] = len(chosen) + len(rejected)
    row = {"id": name, "prompt": "Why?", "chosen": list(chosen), "rejected": list(rejected), **counts}
    return {**row, "subset": subset, "models": ["m"], "additional_metadata": {"category": None}}


CORE = [core_row(0, "math-prm"), core_row(1, "math-prm"), core_row(0, "hep-cpp")]
ROWS2 = [row2("0", "Factuality"), row2("ref:0", "Ties"), row2("tied:0", "Ties", chosen=("yes", "sure"))]


def parquet_bytes(rows) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


HUB = {
    "allenai/reward-bench": {"data/filtered-00000-of-00001.parquet": parquet_bytes(CORE)},
    "allenai/preference-test-sets": {
        f"data/{name}-00000-of-00001.parquet": parquet_bytes([prior_row(0), prior_row(1)]) for name in PRIOR_SETS
    },
    "allenai/reward-bench-2": {"data/test-00000-of-00001.parquet": parquet_bytes(ROWS2)},
}
READ = """
import json
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.rewardbench import load_rewardbench
from nemo_hs2pref.evaluation.rewardbench2 import load_rewardbench2

def shown(load, *args, **options):
    try:
        benchmark = load(*args, **options)
    except DataError as error:
        return str(error)
    return {"input": benchmark.describe(), "subset_of_id": {one.id: one.subset for one in benchmark.records}}
"""


def read_from_hub(tmp_path, revision, *calls):
    """What `calls` give in a process that has a hub with this one revision."""
    program = f"{READ}\nprint(json.dumps([{', '.join(f'shown({call})' for call in calls)}]))"
    with serve(HUB, revision) as hub:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment(hub, tmp_path / "cache"),
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- the hub ---


def test_hub_gives_all_benchmarks_with_the_commit_that_was_read(tmp_path):
    first, with_prior, second = read_from_hub(
        tmp_path,
        "main",
        "load_rewardbench, 'allenai/reward-bench'",
        "load_rewardbench, 'allenai/reward-bench', prior_sets=True",
        "load_rewardbench2, 'allenai/reward-bench-2'",
    )
    file = "data/filtered-00000-of-00001.parquet"
    digest = hashlib.sha256(HUB["allenai/reward-bench"][file]).hexdigest()
    assert first["input"] == {"name": f"allenai/reward-bench@{COMMIT}/{file}", "sha256": digest, "rows": 3}
    assert first["subset_of_id"] == {"math-prm/0": "math-prm", "math-prm/1": "math-prm", "hep-cpp/0": "hep-cpp"}
    prior = {f"{name}/{number}": name for name in PRIOR_SETS for number in (0, 1)}
    assert with_prior["subset_of_id"] == first["subset_of_id"] | prior
    assert with_prior["input"]["rows"] == 3 + 2 * 4
    assert f"allenai/preference-test-sets@{COMMIT}/data/shp-00000-of-00001.parquet" in with_prior["input"]["name"]
    assert second["subset_of_id"] == {"0": "Factuality", "ref:0": "Ties", "tied:0": "Ties"}


def test_hub_is_read_at_the_revision_that_is_asked_for(tmp_path):
    asked, in_the_id, other = read_from_hub(
        tmp_path,
        "v1",
        "load_rewardbench, 'allenai/reward-bench', revision='v1'",
        "load_rewardbench2, 'allenai/reward-bench-2@v1'",
        "load_rewardbench2, 'allenai/reward-bench-2', revision='v2'",
    )
    assert (asked["input"]["rows"], in_the_id["input"]["rows"]) == (3, 3)
    assert (
        "source allenai/reward-bench-2@v2: no such file or folder here, and it cannot be loaded from the hub" in other
    )
    assert "download data/test-00000-of-00001.parquet into a folder and pass that folder" in other


# --- files ---


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        path.write_bytes(parquet_bytes(rows))
    else:
        write_jsonl(path, rows)
    return path


@pytest.mark.parametrize(
    "name", ["data/filtered-00000-of-00001.parquet", "filtered.parquet", "filtered.jsonl", "data/filtered.jsonl.gz"]
)
def test_a_copy_of_the_hubs_file_is_found_in_its_folder_and_by_itself(tmp_path, name):
    path = write(tmp_path / name, CORE)
    expected = ["math-prm/0", "math-prm/1", "hep-cpp/0"]
    assert [pair.id for pair in load_rewardbench(str(tmp_path)).records] == expected
    assert [pair.id for pair in load_rewardbench(str(path)).records] == expected
    assert load_rewardbench(str(path)).describe() == {
        "name": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "rows": 3,
    }


def test_a_clone_of_both_repositories_has_the_prior_sets(tmp_path):
    write(tmp_path / "data" / "filtered-00000-of-00001.parquet", CORE)
    for name in PRIOR_SETS:
        write(tmp_path / "data" / f"{name}.jsonl", [prior_row(0)])
    pairs = load_rewardbench(str(tmp_path), prior_sets=True).records
    assert [pair.subset for pair in pairs] == ["math-prm", "math-prm", "hep-cpp", *PRIOR_SETS]
    assert pairs[-1].prompt == tuple(Message(turn["role"], turn["content"]) for turn in MESSAGES)


def test_a_pairs_file_is_read_as_elsewhere_and_keeps_ids_that_are_unique(tmp_path):
    rows = [
        {"id": "a", "prompt": MESSAGES, "chosen": "yes", "rejected": "no", "subset": "shp", "strength": 2},
        {"id": "b", "prompt": "Why?", "chosen": "yes", "rejected": "no", "subset": "math-prm"},
    ]
    path = write(tmp_path / "mine.jsonl", rows)
    assert load_rewardbench(str(path)).records == read_pairs(path, require_strength=False)


def test_an_empty_response_is_a_response(tmp_path):
    (pair,) = load_rewardbench(str(write(tmp_path / "x.jsonl", [core_row()]))).records
    assert (pair.rejected, pair.id) == ("", "0")


def test_rows_without_an_id_are_called_by_their_number_and_what_they_hold(tmp_path):
    """Equal rows too have ids of their own; a row of a shuffled file has not the id of the row whose place it took."""
    rows = [core_row(id=None), core_row(id=None), core_row(id=None, chosen="other")]
    first, second = (
        [pair.id for pair in load_rewardbench(str(write(tmp_path / name, of))).records]
        for name, of in (("x.jsonl", rows), ("y.jsonl", rows[::-1]))
    )
    assert [name.split("-")[0] for name in first] == ["1", "2", "3"]
    assert set(first) & set(second) == {first[1]}


def test_domains_are_known_whatever_their_capitals_and_ties_keep_their_numbers(tmp_path):
    rows = [row2("ref:0", "ties"), row2("tied:0", "TIES", chosen=("a", "b")), row2("ref:0", "precise if")]
    items = load_rewardbench2(str(write(tmp_path / "test.jsonl", rows))).records
    assert [item.id for item in items] == ["Ties/ref:0", "Ties/tied:0", "Precise IF/ref:0"]
    assert [item.ties_id for item in items[:2]] == [("ref", 0), ("tied", 0)]


# --- what cannot be read ---


def test_all_bad_rows_are_named_with_their_lines(tmp_path):
    rows = [
        core_row(0),
        core_row(0),
        core_row(1, chosen=None),
        core_row(2, prompt=[]),
        core_row(3, prompt=MESSAGES[:2]),
        core_row(4, strength=0),
        core_row(5, subset=7),
        {"prompt": "Why?"},
    ]
    path = write(tmp_path / "x.jsonl", rows)
    with pytest.raises(DataError) as error:
        load_rewardbench(str(path))
    assert str(error.value) == (
        f"7 rows cannot be used:\n"
        f'  {path}:3: "chosen" is None; expected a string\n'
        f'  {path}:4: "prompt": the last message must have the role "user"\n'
        f'  {path}:5: "prompt": the last message must have the role "user"\n'
        f'  {path}:6: "strength" is 0; expected an integer 1 to 3\n'
        f'  {path}:7: "subset" is 7; expected a string\n'
        f'  {path}:8: no "chosen"; the keys are prompt\n'
        f"  {path}:2: \"id\" 'math-prm/0' stands in {path}:1 already"
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (row2("a", "Maths"), "unknown subset 'Maths'; expected one of Factuality"),
        ({**row2("a", "Math"), "chosen": "yes"}, "\"chosen\" is 'yes'; expected a list of completions"),
        ({**row2("a", "Math"), "rejected": [None]}, '"rejected" is None; expected a string'),
        ({**row2("a", "Math"), "num_correct": 2}, '"num_correct" is 2, and the row has 1'),
        ({**row2("a", "Math"), "total_completions": 5}, '"total_completions" is 5, and the row has 4'),
        (row2("a", "Ties"), '"id" is \'a\'; expected "ref:N" or "tied:N", as Ties has'),
        ({"id": "a"}, 'no "subset"; the keys are id'),
    ],
)
def test_a_bad_prompt_of_rewardbench_2_is_named_with_its_row(tmp_path, row, message):
    path = write(tmp_path / "test.jsonl", [row2("fine", "Math"), row])
    with pytest.raises(DataError) as error:
        load_rewardbench2(str(path))
    assert str(error.value).startswith(f"{path}:2: {message}")


def test_sources_that_are_none_say_what_would_be_one(tmp_path):
    path = write(tmp_path / "x.jsonl", CORE)
    cases = [
        ({"source": str(path), "revision": "v1"}, f"{path}: lies here, and revision v1 is of a repository of the hub"),
        ({"source": str(path), "prior_sets": True}, "no rows of the prior sets anthropic_helpful, anthropic_hhh, shp"),
        (
            {"source": str(tmp_path / "absent.jsonl")},
            "is no file and no folder; expected a folder with data/filtered.jsonl",
        ),
        ({"source": str(write(tmp_path / "empty.jsonl", []))}, "empty.jsonl: no rows; expected at least one"),
    ]
    for arguments, message in cases:
        with pytest.raises(DataError) as error:
            load_rewardbench(**arguments)
        assert message in str(error.value)
