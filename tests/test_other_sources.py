"""Sources of people's own: pairs in the usual forms, raw annotations, NeMo-Aligner's rows, single annotations."""

import json

import pytest
from test_annotations import EXAMPLE

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.preparation.prepare import Options, prepare
from nemo_hs2pref.data.reading.split import split_of_prompt
from nemo_hs2pref.data.records import Message, read_jsonl, read_pairs, read_ratings, write_jsonl
from nemo_hs2pref.errors import DataError

SPLITS = ("train", "validation")


def prepared(tmp_path, rows, name="pairs.jsonl", form="pairs", **options):
    """The manifest of these rows as one file."""
    write_jsonl(tmp_path / name, rows)
    return prepare(str(tmp_path / name), tmp_path / "out", Options(form, **options))


def pairs_of(tmp_path):
    return [
        pair for split in SPLITS for pair in read_pairs(tmp_path / f"out/pairs.{split}.jsonl", require_strength=False)
    ]


# Pairs

ASK, SAY, NAY = (
    {"role": "user", "content": "Why?"},
    *({"role": "assistant", "content": text} for text in ("So.", "No.")),
)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
        {"prompt": [ASK], "chosen": "So.", "rejected": "No."},
        {"prompt": "Why?", "chosen": [SAY], "rejected": [NAY]},
        {"prompt": [ASK], "chosen": [SAY], "rejected": [NAY]},
        {"prompt": "Why?", "chosen": [ASK, SAY], "rejected": [ASK, NAY]},
        {"chosen": [ASK, SAY], "rejected": [ASK, NAY]},
    ],
)
def test_usual_forms_are_the_same_pair(tmp_path, row):
    prepared(tmp_path, [{**row, "id": "p", "strength": 2}])
    (pair,) = pairs_of(tmp_path)
    assert (pair.id, pair.prompt, pair.chosen, pair.rejected) == ("p", (Message("user", "Why?"),), "So.", "No.")
    assert pair.strength == 2


def test_pair_keeps_its_optional_keys_and_gets_an_id_where_it_has_none(tmp_path):
    row = {"prompt": "Why?", "chosen": "So.", "rejected": "No.", "subset": "x", "justification": "y", "other": 1}
    prepared(tmp_path, [{**row, "id": None}, {**row, "id": 7, "chosen_position": 2}], validation_share=0.0)
    pairs = {pair.id: pair for pair in pairs_of(tmp_path)}
    assert set(pairs) == {"pairs-1", "7"}
    assert (pairs["7"].subset, pairs["7"].justification, pairs["7"].chosen_position) == ("x", "y", 2)


def test_ties_and_equal_responses_are_dropped(tmp_path):
    row = {"prompt": "Why?", "chosen": "So.", "rejected": "No."}
    manifest = prepared(tmp_path, [{**row, "strength": 0}, {**row, "rejected": "So."}, row], validation_share=0.0)
    assert manifest["outputs"]["pairs.train.jsonl"]["dropped"] == {"equal_responses": 1, "tie": 1}


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"prompt": "Why?", "chosen": "So."}, 'no "rejected"'),
        ({"prompt": "Why?", "chosen": "So.", "rejected": ""}, '"rejected" is empty'),
        ({"chosen": "So.", "rejected": "No."}, 'no "prompt"'),
        ({"prompt": 5, "chosen": [SAY], "rejected": [NAY]}, '"prompt" is 5; expected text or a list'),
        ({"chosen": [ASK, SAY], "rejected": "No."}, "\"rejected\" is 'No.'; expected a list of"),
        ({"chosen": [ASK, SAY, ASK], "rejected": [ASK, NAY]}, '"chosen" has 2 messages behind the prompt'),
        ({"chosen": [ASK, ASK], "rejected": [ASK, NAY]}, "expected one, of the assistant"),
        ({"prompt": "Why?", "chosen": "So.", "rejected": "No.", "split": "val"}, "\"split\" is 'val'; expected one of"),
        ({"prompt": "Why?", "chosen": "So.", "rejected": "No.", "strength": 4}, '"strength" is 4'),
    ],
)
def test_malformed_pair_is_named_with_its_line(tmp_path, row, fault):
    with pytest.raises(DataError) as error:
        prepared(tmp_path, [{"prompt": "Why?", "chosen": "So.", "rejected": "No."}, row])
    assert str(error.value).startswith(f"{tmp_path}/pairs.jsonl:2: ") and fault in str(error.value)


def test_second_row_with_an_id_is_malformed(tmp_path):
    row = {"id": "p", "prompt": "Why?", "chosen": "So.", "rejected": "No."}
    with pytest.raises(DataError, match=r'pairs\.jsonl:2: "id" \'p\' stands in .*pairs\.jsonl:1 already'):
        prepared(tmp_path, [row, row])


def test_split_is_the_rows_or_the_files_or_the_prompts(tmp_path):
    rows = [{"prompt": f"Why {n}?", "chosen": "So.", "rejected": "No."} for n in range(200)]
    prepared(tmp_path, rows)
    held_out = {pair.prompt for pair in read_pairs(tmp_path / "out/pairs.validation.jsonl", require_strength=False)}
    prompts = [(Message("user", row["prompt"]),) for row in rows]
    assert held_out == {prompt for prompt in prompts if split_of_prompt(prompt, 0.05) == "validation"} != set()

    manifest = prepared(tmp_path, [{**row, "split": SPLITS[n % 2]} for n, row in enumerate(rows)])
    assert [manifest["outputs"][f"pairs.{split}.jsonl"]["rows"] for split in SPLITS] == [100, 100]

    for name, part in (("train", rows[:150]), ("test", rows[150:])):
        write_jsonl(tmp_path / "folder" / f"{name}.jsonl.gz", part)
    manifest = prepare(str(tmp_path / "folder"), tmp_path / "out", Options("pairs"))
    assert [manifest["outputs"][f"pairs.{split}.jsonl"]["rows"] for split in SPLITS] == [150, 50]


# Annotations


def test_example_of_the_documentation_is_prepared(tmp_path, capsys):
    """The rows that docs/data.md works out by hand; the numbers themselves are tested in test_annotations.py."""
    write_jsonl(tmp_path / "tasks.jsonl", [{**EXAMPLE, "split": "train"}])
    command = ["data", "prepare", "--format", "annotations", "--source", str(tmp_path / "tasks.jsonl")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    first, second = read_ratings(tmp_path / "out" / "ratings.train.jsonl")
    (pair,) = pairs_of(tmp_path)
    assert (first.id, second.id, pair.id) == ("sky:1", "sky:2", "sky")
    assert (pair.chosen, pair.strength, pair.chosen_position) == (EXAMPLE["response_2"], 2, 2)
    assert pair.chosen_attributes == second.attributes and pair.rejected_attributes == first.attributes
    assert "kappa" in capsys.readouterr().out


def test_annotations_of_one_prompt_stay_in_one_split_and_ids_are_unique(tmp_path):
    tasks = [{**EXAMPLE, "id": f"{n}", "prompt": f"prompt {n // 4}"} for n in range(400)]
    manifest = prepared(tmp_path, tasks, "tasks.jsonl", "annotations")
    prompts = [{rating.messages[0] for rating in read_ratings(tmp_path / f"out/ratings.{s}.jsonl")} for s in SPLITS]
    assert prompts[1] and not prompts[0] & prompts[1]
    assert sum(manifest["outputs"][f"pairs.{split}.jsonl"]["rows"] for split in SPLITS) == 400
    with pytest.raises(DataError, match=r"tasks\.jsonl:2: .* stands in .*tasks\.jsonl:1 already"):
        prepared(tmp_path, [EXAMPLE, EXAMPLE], "tasks.jsonl", "annotations")


# NeMo-Aligner's rows


def test_aligners_own_rows_are_read_and_written_alike(tmp_path, shared_data):
    source = shared_data / "nemo-aligner-test-data" / "test-rm.jsonl"
    prepare(str(source), tmp_path / "out", Options("aligner", also=("aligner",), validation_share=0.0))
    written = [json.dumps(row) for _, row in read_jsonl(tmp_path / "out" / "aligner.ratings.train.jsonl")]
    read = [json.dumps(row) for _, row in read_jsonl(source)]
    assert sorted(written) == sorted(read) and len(read) == 8
    ratings = read_ratings(tmp_path / "out" / "ratings.train.jsonl")
    assert all(one.messages[:-1] == two.messages[:-1] for one, two in zip(ratings[::2], ratings[1::2], strict=True))


def test_comparisons_in_aligners_rows_come_back_from_a_preparation(tmp_path):
    prepare("sample", tmp_path / "one", Options(also=("aligner",)))
    aligned = tmp_path / "one" / "aligner.pairs.train.jsonl"
    prepare(str(aligned), tmp_path / "two", Options("aligner", validation_share=0.0))

    def pairs(folder):
        found = read_pairs(tmp_path / folder / "pairs.train.jsonl")
        return {(pair.prompt, pair.chosen, pair.rejected, pair.strength, pair.chosen_position) for pair in found}

    assert pairs("one") == pairs("two")


def test_odd_row_of_aligners_form_is_named(tmp_path):
    prepare("sample", tmp_path / "one", Options(also=("aligner",)))
    rows = [row for _, row in read_jsonl(tmp_path / "one" / "aligner.pairs.train.jsonl")]
    with pytest.raises(DataError, match=r"rows\.jsonl:3: slot 0 stands alone"):
        prepared(tmp_path, [*rows[:3]], "rows.jsonl", "aligner")


def test_malformed_row_between_two_comparisons_joins_neither(tmp_path):
    prepare("sample", tmp_path / "one", Options(also=("aligner",)))
    rows = [row for _, row in read_jsonl(tmp_path / "one" / "aligner.pairs.train.jsonl")]
    (first, second), label = rows[:2], rows[0]["label"]
    broken = {"text": "no frame", "label": label}
    manifest = prepared(tmp_path, [first, broken, first, second], "rows.jsonl", "aligner", skip_bad_rows=True)
    assert manifest["bad_rows"]["skipped"] == 2
    (pair,) = [pair for split in SPLITS for pair in read_pairs(tmp_path / f"out/pairs.{split}.jsonl")]
    assert pair.id == "rows-3"


# Single annotations of HelpSteer2 alone


def test_disagreements_alone_become_ratings_by_the_papers_rule(tmp_path):
    def row(number, response, helpfulness):
        others = {name: [1] * len(helpfulness) for name in ("correctness", "coherence", "complexity", "verbosity")}
        return {"prompt": f"Why {number}?", "response": response, "helpfulness": helpfulness, **others}

    rows = [row(1, "a", [4, 3, 3, 0]), row(1, "b", [2, 2, 2])]
    rows += [row(2, "a", [0, 4, 2]), row(2, "b", [2, 2, 2]), row(3, "a", [1, 1]), row(3, "b", [1, 1, 1])]
    manifest = prepared(tmp_path, rows, "disagreements.jsonl", "helpsteer2", validation_share=0.0)
    ratings = read_ratings(tmp_path / "out" / "ratings.train.jsonl")
    assert [(rating.id, rating.attributes["helpfulness"]) for rating in ratings] == [("task-1:1", 3), ("task-1:2", 2)]
    dropped = {"disagreement": 2, "too_few_annotations": 2}
    assert manifest["outputs"]["ratings.train.jsonl"]["dropped"] == dropped


@pytest.mark.parametrize("ratings", [10**400, float("1e308"), float("nan"), True])
def test_rating_that_is_no_number_to_count_with_is_malformed(tmp_path, ratings):
    sides = {"chosen_attributes": {"helpfulness": ratings}, "rejected_attributes": {"helpfulness": 1}}
    line = json.dumps({"prompt": "Why?", "chosen": "So.", "rejected": "No.", **sides})
    (tmp_path / "pairs.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"pairs\.jsonl:1: .* expected a finite number, at most 1,000,000"):
        prepare(str(tmp_path / "pairs.jsonl"), tmp_path / "out", Options("pairs"))


def test_ratings_of_machines_are_counted_in_steps_that_do_not_grow_with_the_data(tmp_path):
    def pair(n):
        sides = {"chosen_attributes": {"helpfulness": 4 - n / 7000}, "rejected_attributes": {"helpfulness": n / 9000}}
        return {"prompt": f"{n}", "chosen": "So.", "rejected": "No.", "strength": 1, "chosen_position": 2, **sides}

    preferences = prepared(tmp_path, map(pair, range(3000)))["statistics"]["preferences"]
    counts = preferences["by_strength"]["1"]["counts"]
    assert sum(counts.values()) == 3000 and len(counts) <= 101


def test_strengths_are_shown_where_positions_are_not_known(tmp_path, capsys):
    rows = [{"prompt": f"{n}", "chosen": "So.", "rejected": "No.", "strength": n % 3 + 1} for n in range(9)]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    command = ["data", "prepare", "--format", "pairs", "--source", str(tmp_path / "pairs.jsonl")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "slightly better 3, better 3, much better 3; which response was the first is not" in capsys.readouterr().out
    assert (tmp_path / "out" / "statistics.png").exists()
    write_jsonl(tmp_path / "pairs.jsonl", [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows])
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "statistics.png").exists()  # it would be a white page


@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_further_file_of_what_the_source_has_not_is_refused(tmp_path, name):
    rows = [{"prompt": "Why?", "chosen": "So.", "rejected": "No."}]
    with pytest.raises(DataError, match=f"--also {name} is made of ratings, and the source has pairs alone"):
        prepared(tmp_path, rows, also=(name,))


def test_first_line_may_begin_with_a_byte_order_mark(tmp_path):
    row = json.dumps({"prompt": "Why?", "chosen": "So.", "rejected": "No."})
    (tmp_path / "pairs.jsonl").write_text(row + "\n", encoding="utf-8-sig")
    prepare(str(tmp_path / "pairs.jsonl"), tmp_path / "out", Options("pairs"))
    assert len(pairs_of(tmp_path)) == 1


def test_fault_that_quotes_half_a_surrogate_pair_can_be_written_down(tmp_path):
    good = json.dumps({"prompt": "Why?", "chosen": "So.", "rejected": "No."})
    (tmp_path / "pairs.jsonl").write_text(good + "\n" + '{"\\ud800": 1}\n')
    source = str(tmp_path / "pairs.jsonl")
    manifest = prepare(source, tmp_path / "out", Options("pairs", skip_bad_rows=True))
    assert "\\ud800" in manifest["bad_rows"]["first"][0]


def test_missing_piece_of_parquet_is_told(tmp_path):
    from pyarrow import Table as Arrow
    from pyarrow import parquet

    piece = Arrow.from_pylist([{"prompt": "Why?", "chosen": "So.", "rejected": "No."}])
    for number in (0, 1):
        parquet.write_table(piece, tmp_path / f"train-0000{number}-of-00003.parquet")
    with pytest.raises(DataError, match=r"train-00000-of-00003\.parquet: one of 00003 pieces, and 2 are there"):
        prepare(str(tmp_path), tmp_path / "out", Options("pairs"))
