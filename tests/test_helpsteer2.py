"""The official files: where they come from, what a row means, what is dropped and what is refused."""

import gzip
import json
from collections import Counter

import pytest

from nemo_hs2pref.data.formats.helpsteer2 import RELEASE, read, read_preferences, read_rated_responses
from nemo_hs2pref.data.groups import Dropped, Kept, Panel
from nemo_hs2pref.data.reading.rows import Reading
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.data.reading.sources import Table, open_tables
from nemo_hs2pref.data.records import Message, write_jsonl
from nemo_hs2pref.data.templates.extra_id import split_prompt
from nemo_hs2pref.errors import DataError

RATINGS = {"helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 2}
RATING = {"prompt": "Why?", "response": "Because.", **RATINGS}
PREFERENCE = {"split": "train", "prompt": "Why?", "response_1": "one", "response_2": "two", "preference_strength": 2}
MULTI_TURN = "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nBye"


@pytest.fixture
def table(tmp_path):
    """Rows as a table of one file."""

    def write(*rows: dict) -> Table:
        write_jsonl(tmp_path / "file.jsonl", rows)
        return Table("file.jsonl", (tmp_path / "file.jsonl",), "")

    return write


@pytest.fixture
def reading(tmp_path):
    with Scratch(tmp_path / "scratch.sqlite") as scratch:
        yield Reading(scratch)


def kept(found, split="train"):
    """The groups of a split."""
    return [item.records for item in found if isinstance(item, Kept) and item.split == split]


def dropped(found, split="train"):
    return Counter(item.reason for item in found if isinstance(item, Dropped) and item.split == split)


@pytest.fixture
def official(tmp_path):
    """A folder in the official layout with one row or pair each."""
    (tmp_path / "preference").mkdir()
    for name in ("train", "validation"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(RATING) + "\n")
    (tmp_path / "preference" / "preference.jsonl").write_text(json.dumps(PREFERENCE) + "\n")
    return tmp_path


# Prompts


def test_embedded_turns_are_split():
    assert split_prompt("Why?\n\nReally.") == (Message("user", "Why?\n\nReally."),)
    assert split_prompt(MULTI_TURN) == (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Bye"))


@pytest.mark.parametrize(
    "prompt", ["", "Hi\n<extra_id_1>Assistant\nHello", "Hi\n<extra_id_1>User\nBye", MULTI_TURN.replace("Hello", " ")]
)
def test_turns_that_do_not_alternate_are_refused(prompt):
    with pytest.raises(DataError):
        split_prompt(prompt)


# Rows


def test_consecutive_responses_of_a_prompt_share_the_id_of_their_pair(table, reading):
    other = {**RATING, "prompt": "How?"}
    rows = table(RATING, RATING, other, RATING, RATING, RATING, RATING)
    found = list(read_rated_responses(rows, "train", reading))
    ids = [[response.id for response in group] for group in kept(found)]
    assert ids == [["train-1:1", "train-1:2"], ["train-2:1"], ["train-3:1", "train-3:2"], ["train-4:1", "train-4:2"]]
    first = kept(found)[0][0]
    assert first.attributes == RATINGS
    assert first.messages == (Message("user", "Why?"), Message("assistant", "Because."))
    assert not dropped(found)


def test_sign_of_the_strength_says_which_response_was_chosen(table, reading):
    rows = table(PREFERENCE, {**PREFERENCE, "preference_strength": -3, "split": "val"})
    found = list(read_preferences(rows, reading))
    ((train,),), ((validation,),) = kept(found), kept(found, "validation")
    assert (train.id, train.chosen, train.rejected, train.strength) == ("preference-1", "two", "one", 2)
    assert (validation.id, validation.chosen, validation.rejected) == ("preference-2", "one", "two")
    assert validation.strength == 3
    assert (train.chosen_position, validation.chosen_position) == (2, 1)


def test_justification_is_elaboration_then_statement(table, reading):
    statement = {"preference_statement": "@Response 2 is better.", "preference_elaboration": "It answers. "}
    found = list(read_preferences(table({**PREFERENCE, **statement}, {**PREFERENCE, "split": "val"}), reading))
    assert kept(found)[0][0].justification == "It answers. @Response 2 is better."
    assert kept(found, "validation")[0][0].justification is None


def test_rows_that_nothing_can_be_trained_on_are_dropped_and_counted(table, reading):
    rows = table(
        {**PREFERENCE, "preference_strength": 0},
        {**PREFERENCE, "response_2": "\n"},
        {**PREFERENCE, "prompt": "Hi\n<extra_id_1>User\nBye"},
        PREFERENCE,
    )
    found = list(read_preferences(rows, reading))
    assert [pair.id for (pair,) in kept(found)] == ["preference-4"]
    assert dropped(found) == {"tie": 1, "empty_response": 1, "bad_turns": 1}
    assert [item.where for item in found if isinstance(item, Dropped)] == [f"file.jsonl:{n}" for n in (1, 2, 3)]
    found = list(read_rated_responses(table({**RATING, "response": ""}, RATING), "train", reading))
    assert [[response.id for response in group] for group in kept(found)] == [["train-1:2"]]
    assert dropped(found) == {"empty_response": 1}


def test_malformed_rows_are_reported_together(table, reading):
    without = {key: value for key, value in RATING.items() if key != "verbosity"}
    rows = table(RATING, without, {**RATING, "coherence": 5}, {**RATING, "response": 3})
    assert len(kept(read_rated_responses(rows, "train", reading))) == 1
    with pytest.raises(DataError) as error:
        reading.bad_rows.refuse()
    assert str(error.value).splitlines() == [
        "3 rows cannot be used; mend them, or leave them out with --on-bad-row skip:",
        f'  file.jsonl:2: no "verbosity"; the keys are {", ".join(without)}',
        '  file.jsonl:3: "coherence" is 5; expected an integer 0 to 4',
        '  file.jsonl:4: "response" is 3; expected a string',
    ]


@pytest.mark.parametrize("strength", [4, -100, None, "2", 1.5])
def test_overall_strength_outside_the_scale_is_refused(table, reading, strength):
    assert not list(read_preferences(table({**PREFERENCE, "preference_strength": strength}), reading))
    with pytest.raises(DataError, match=r'file\.jsonl:1: "preference_strength" is .* expected an integer -3 to 3'):
        reading.bad_rows.refuse()


def test_real_pairs_are_oriented_towards_the_more_helpful_response(shared_data, table, reading):
    """Strength and helpfulness were given by the same annotators; they may differ by a little, not in sign for |3|."""
    path = shared_data / "helpsteer2-samples" / "preference_pairs_with_attributes.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = list(read_preferences(table(*rows), reading))
    pairs = {pair.id: pair for split in ("train", "validation") for (pair,) in kept(found, split)}
    ties = sum(row["preference_strength"] == 0 for row in rows)
    assert len(pairs) == len(rows) - ties
    assert ties == sum(dropped(found, split)["tie"] for split in ("train", "validation"))
    strong = [(number, row) for number, row in enumerate(rows, start=1) if abs(row["preference_strength"]) == 3]
    assert strong
    for number, row in strong:
        sides = [(row["attributes_1"]["helpfulness"], row["response_1"])]
        sides += [(row["attributes_2"]["helpfulness"], row["response_2"])]
        assert pairs[f"preference-{number}"].chosen == max(sides)[1]


# What the annotators said


def single(*strengths):
    return {"all_preferences_unprocessed": [{"strength": value, "justification": "x"} for value in strengths]}


def test_preference_of_the_papers_rule_stands_beside_the_released_one(table, reading):
    rows = table(
        {**PREFERENCE, **single(2, 2, 1)},
        {**PREFERENCE, **single(-100, 1, 1, 1)},  # the rule gives 1, the row says 2
        {**PREFERENCE, "preference_strength": 0, **single(-1, 1, 1)},
        {**PREFERENCE, **single(-3, 0, 3)},
    )
    panels = [item for item in read_preferences(rows, reading) if isinstance(item, Panel)]
    assert [(panel.result, panel.released) for panel in panels] == [(2, 2), (1, 2), (0, 0), (None, 2)]


@pytest.mark.parametrize("strength", [4, -99, None, "1"])
def test_single_preference_outside_the_scale_is_refused(table, reading, strength):
    assert not list(read_preferences(table({**PREFERENCE, **single(1, 1, strength)}), reading))
    with pytest.raises(DataError, match=r'"strength" is .* expected an integer -3 to 3, or -100'):
        reading.bad_rows.refuse()


def test_real_panels_give_the_released_strengths(shared_data, table, reading):
    path = shared_data / "helpsteer2-samples" / "raw_panels_vs_official_strength.jsonl"
    real = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [
        {**PREFERENCE, "preference_strength": row["preference_strength"], **single(*row["raw_strengths"])}
        for row in real
    ]
    panels = [item for item in read_preferences(table(*rows), reading) if isinstance(item, Panel)]
    assert len(panels) == 7 and all(panel.result == panel.released for panel in panels)


def several(**change):
    """A response's rows in disagreements.jsonl: three annotators who agree, but for `change`."""
    return {
        "prompt": "Why?",
        "response": "Because.",
        **{name: [value] * 3 for name, value in RATINGS.items()},
        **change,
    }


def panels_of_ratings(official, reading, *rows):
    write_jsonl(official / "disagreements" / "disagreements.jsonl", rows)
    found = read(open_tables(str(official), RELEASE), reading)
    return {item.question: item for item in found if isinstance(item, Panel)}


def test_ratings_of_the_papers_rule_stand_beside_the_released_ones(official, reading):
    panels = panels_of_ratings(official, reading, several(helpfulness=[4, 4, 3, 0], **five(4, "helpfulness")))
    assert set(panels) == set(RATINGS)
    helpfulness = panels["helpfulness"]
    assert (helpfulness.values, helpfulness.kept) == ((4, 4, 3, 0), (4, 4, 3))
    assert {name: (panel.result, panel.released) for name, panel in panels.items()} == {
        name: (value, value) for name, value in RATINGS.items()
    }


def five(count, without):
    return {name: [value] * count for name, value in RATINGS.items() if name != without}


def test_task_is_dropped_for_both_responses_where_one_is_disputed(official, reading):
    disputed = several(response="No.", helpfulness=[0, 4, 2])
    panels = panels_of_ratings(official, reading, several(), disputed)
    assert all(panel.kept is None and panel.result is None for panel in panels.values())


def test_a_dropped_row_of_several_turns_counts_for_the_split_of_its_prompt(tmp_path, reading):
    """Alone, the file says nothing of splits: the prompt decides, for kept rows and for dropped ones."""
    prompts = [f"{n}?\n<extra_id_1>Assistant\nSo.\n<extra_id_1>User\nAnd {n}?" for n in range(40)]
    rows = [several(prompt=prompt, response=text) for prompt in prompts for text in ("Because.", " ")]
    write_jsonl(tmp_path / "disagreements.jsonl", rows)
    reading.validation_share = 0.4
    found = list(read(open_tables(str(tmp_path / "disagreements.jsonl"), RELEASE), reading))
    splits = [reading.split_of(split_prompt(prompt)) for prompt in prompts]
    assert [item.split for item in found if isinstance(item, Kept)] == splits
    assert [item.split for item in found if isinstance(item, Dropped)] == splits
    assert set(splits) == {"train", "validation"}


# Sources


def rows_of(tables):
    return {name: [row for _, row in table.rows(lambda _: None)] for name, table in tables.items()}


def test_folder_is_read_plain_gzipped_or_as_parquet(official):
    from pyarrow import Table as Arrow
    from pyarrow import parquet

    plain = rows_of(open_tables(str(official), RELEASE))
    assert set(plain) == {"train", "validation", "preference"} and all(plain.values())
    for path in [*official.glob("*.jsonl"), *official.glob("*/*.jsonl")]:
        path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = open_tables(str(official), RELEASE)
    assert rows_of(packed) == plain
    assert all(table.name.endswith(".jsonl.gz") for table in packed.values())

    for path in [*official.glob("*.jsonl.gz"), *official.glob("*/*.jsonl.gz")]:
        path.unlink()
    parquet.write_table(Arrow.from_pylist(plain["train"]), official / "train-00000-of-00002.parquet")
    parquet.write_table(Arrow.from_pylist(plain["train"]), official / "train-00001-of-00002.parquet")
    parquet.write_table(Arrow.from_pylist(plain["validation"]), official / "validation.parquet")
    parquet.write_table(Arrow.from_pylist(plain["preference"]), official / "preference" / "preference.parquet")
    tables = open_tables(str(official), RELEASE)
    assert rows_of(tables) == {**plain, "train": plain["train"] * 2}
    places = [where for where, _ in tables["train"].rows(lambda _: None)]
    assert places == [f"{official}/train-0000{piece}-of-00002.parquet:1" for piece in (0, 1)]


def test_broken_parquet_is_one_sentence(official):
    (official / "train.jsonl").unlink()
    (official / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"train\.parquet: cannot be read as Parquet \(.*; copy or download it again"):
        rows_of(open_tables(str(official), RELEASE))


def test_missing_file_is_named_with_the_layout(official):
    (official / "validation.jsonl").unlink()
    with pytest.raises(
        DataError, match=r"validation\.jsonl: no such file, nor validation\.jsonl\.gz, nor .*\.parquet; the official"
    ):
        open_tables(str(official), RELEASE)


def test_source_that_is_neither_folder_nor_hub_id_is_refused():
    with pytest.raises(DataError, match="source 'absent' is no file and no folder; expected `sample`, a folder with"):
        open_tables("absent", RELEASE)


# The bundled sample


def test_bundled_sample_holds_out_64_pairs_that_length_does_not_decide(reading):
    tables = open_tables("sample", RELEASE)
    assert tables["train"].name == str(RELEASE.sample / "train.jsonl")
    found = list(read_preferences(tables["preference"], reading))
    pairs = [pair for (pair,) in kept(found, "validation")]
    assert len(pairs) == 64 and not dropped(found, "validation")
    assert sum(len(pair.chosen) > len(pair.rejected) for pair in pairs) == 32
    found = list(read_rated_responses(tables["validation"], "validation", reading))
    groups = kept(found, "validation")
    assert [len(group) for group in groups] == [2] * 64 and not dropped(found, "validation")
    rated = {(group[0].messages[:-1], response.messages[-1].content) for group in groups for response in group}
    assert rated == {(pair.prompt, response) for pair in pairs for response in (pair.chosen, pair.rejected)}


def test_bundled_sample_shares_no_prompt_between_training_and_validation(reading):
    tables = open_tables("sample", RELEASE)
    prompts = {
        split: {group[0].messages[:-1] for group in kept(read_rated_responses(tables[split], split, reading), split)}
        for split in ("train", "validation")
    }
    assert not prompts["train"] & prompts["validation"]
    assert len(kept(list(read_preferences(tables["preference"], reading)))) >= 100
