"""The official files: where they come from, what a row means, what is dropped and what is refused."""

import gzip
import json
import sys
from types import SimpleNamespace

import pytest

from nemo_hs2pref.data.helpsteer2 import RELEASE, read_preferences, read_rated_responses, split_prompt
from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.sources import Table, open_tables
from nemo_hs2pref.errors import DataError

RATINGS = {"helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 2}
RATING = {"prompt": "Why?", "response": "Because.", **RATINGS}
PREFERENCE = {"split": "train", "prompt": "Why?", "response_1": "one", "response_2": "two", "preference_strength": 2}
MULTI_TURN = "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nBye"


def table(*rows: dict) -> Table:
    return Table("file.jsonl", [(number, json.dumps(row)) for number, row in enumerate(rows, start=1)], "")


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


def test_consecutive_responses_of_a_prompt_share_the_id_of_their_pair():
    other = {**RATING, "prompt": "How?"}
    groups, dropped = read_rated_responses(table(RATING, RATING, other, RATING, RATING, RATING, RATING), "train")
    ids = [[response.id for response in group] for group in groups]
    assert ids == [["train-1:1", "train-1:2"], ["train-2:1"], ["train-3:1", "train-3:2"], ["train-4:1", "train-4:2"]]
    assert groups[0][0].attributes == RATINGS
    assert groups[0][0].messages == (Message("user", "Why?"), Message("assistant", "Because."))
    assert not dropped


def test_sign_of_the_strength_says_which_response_was_chosen():
    kept = read_preferences(table(PREFERENCE, {**PREFERENCE, "preference_strength": -3, "split": "val"}))
    (train,), (validation,) = kept["train"][0], kept["validation"][0]
    assert (train.id, train.chosen, train.rejected, train.strength) == ("preference-1", "two", "one", 2)
    assert (validation.id, validation.chosen, validation.rejected) == ("preference-2", "one", "two")
    assert validation.strength == 3


def test_rows_that_nothing_can_be_trained_on_are_dropped_and_counted():
    kept = read_preferences(
        table(
            {**PREFERENCE, "preference_strength": 0},
            {**PREFERENCE, "response_2": "\n"},
            {**PREFERENCE, "prompt": "Hi\n<extra_id_1>User\nBye"},
            PREFERENCE,
        )
    )
    pairs, dropped = kept["train"]
    assert [pair.id for pair in pairs] == ["preference-4"]
    assert dropped == {"tie": 1, "empty_response": 1, "bad_turns": 1}
    groups, dropped = read_rated_responses(table({**RATING, "response": ""}, RATING), "train")
    assert [[response.id for response in group] for group in groups] == [["train-1:2"]]
    assert dropped == {"empty_response": 1}


def test_malformed_rows_are_reported_together():
    without = {key: value for key, value in RATING.items() if key != "verbosity"}
    with pytest.raises(DataError) as error:
        read_rated_responses(table(RATING, without, {**RATING, "coherence": 5}, {**RATING, "response": 3}), "train")
    assert str(error.value).splitlines() == [
        "file.jsonl: 3 rows cannot be used:",
        '  line 2: no "verbosity"; the keys are prompt, response, helpfulness, correctness, coherence, complexity',
        '  line 3: "coherence" is 5; expected an integer 0 to 4',
        '  line 4: "response" is 3; expected a string',
    ]


@pytest.mark.parametrize("strength", [4, -100, None, "2", 1.0])
def test_overall_strength_outside_the_scale_is_refused(strength):
    with pytest.raises(DataError, match=r'file\.jsonl:1: "preference_strength" is .* expected an integer -3 to 3'):
        read_preferences(table({**PREFERENCE, "preference_strength": strength}))


def test_real_pairs_are_oriented_towards_the_more_helpful_response(shared_data):
    """Strength and helpfulness were given by the same annotators; they may differ by a little, not in sign for |3|."""
    path = shared_data / "helpsteer2-samples" / "preference_pairs_with_attributes.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kept = read_preferences(table(*rows))
    pairs = {pair.id: pair for pairs, _ in kept.values() for pair in pairs}
    ties = sum(row["preference_strength"] == 0 for row in rows)
    assert len(pairs) == len(rows) - ties == len(rows) - sum(dropped["tie"] for _, dropped in kept.values())
    strong = [(number, row) for number, row in enumerate(rows, start=1) if abs(row["preference_strength"]) == 3]
    assert strong
    for number, row in strong:
        sides = [(row["attributes_1"]["helpfulness"], row["response_1"])]
        sides += [(row["attributes_2"]["helpfulness"], row["response_2"])]
        assert pairs[f"preference-{number}"].chosen == max(sides)[1]


# Sources


def test_folder_is_read_plain_or_gzipped(official):
    plain = open_tables(str(official), RELEASE)
    for path in [*official.glob("*.jsonl"), *official.glob("*/*.jsonl")]:
        path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = open_tables(str(official), RELEASE)
    for name in ("train", "validation", "preference"):
        assert packed[name].lines == plain[name].lines
        assert packed[name].name.endswith(".jsonl.gz")


def test_missing_file_is_named_with_the_layout(official):
    (official / "validation.jsonl").unlink()
    with pytest.raises(DataError, match=r"validation\.jsonl: no such file, nor validation\.jsonl\.gz; the official"):
        open_tables(str(official), RELEASE)


def test_source_that_is_neither_folder_nor_hub_id_is_refused():
    with pytest.raises(DataError, match="source 'absent' is no file and no folder; expected `sample`, a folder with"):
        open_tables("absent", RELEASE)


@pytest.fixture
def hub(monkeypatch, official, tmp_path_factory):
    """Stands in for the hub, which needs a network: gzips `official`, records the calls; `hub.failure` is raised."""
    fake = SimpleNamespace(calls=[], failure=None)
    cache = tmp_path_factory.mktemp("cache")

    def hf_hub_download(name, file, *, repo_type, revision):
        fake.calls.append((name, file, repo_type, revision))
        if fake.failure is not None:
            raise fake.failure
        path = cache / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress((official / file.removesuffix(".gz")).read_bytes()))
        return str(path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=hf_hub_download))
    return fake


def test_hub_dataset_gives_the_same_rows_as_the_files(hub, official):
    tables = open_tables("nvidia/HelpSteer2@990b271", RELEASE)
    assert hub.calls == [
        ("nvidia/HelpSteer2", file, "dataset", "990b271")
        for file in ("train.jsonl.gz", "validation.jsonl.gz", "preference/preference.jsonl.gz")
    ]
    assert tables["train"].name == "nvidia/HelpSteer2/train.jsonl.gz"
    files = open_tables(str(official), RELEASE)
    assert {name: table.lines for name, table in tables.items()} == {name: files[name].lines for name in files}


def test_failed_download_is_one_sentence_that_names_the_folder_alternative(hub):
    hub.failure = ConnectionError("Couldn't reach the Hub\nlong trace")
    with pytest.raises(DataError) as error:
        open_tables("nvidia/HelpSteer2", RELEASE)
    assert str(error.value) == (
        "source nvidia/HelpSteer2: train.jsonl.gz cannot be loaded from the hub (Couldn't reach the Hub); "
        "download train.jsonl, validation.jsonl, preference/preference.jsonl (.gz is fine) into a folder and pass "
        "--source FOLDER"
    )


# The bundled sample


def test_bundled_sample_holds_out_64_pairs_that_length_does_not_decide():
    tables = open_tables("sample", RELEASE)
    assert tables["train"].name == str(RELEASE.sample / "train.jsonl")
    pairs, dropped = read_preferences(tables["preference"])["validation"]
    assert len(pairs) == 64 and not dropped
    assert sum(len(pair.chosen) > len(pair.rejected) for pair in pairs) == 32
    groups, dropped = read_rated_responses(tables["validation"], "validation")
    assert [len(group) for group in groups] == [2] * 64 and not dropped
    rated = {(group[0].messages[:-1], response.messages[-1].content) for group in groups for response in group}
    assert rated == {(pair.prompt, response) for pair in pairs for response in (pair.chosen, pair.rejected)}


def test_bundled_sample_shares_no_prompt_between_training_and_validation():
    tables = open_tables("sample", RELEASE)
    train, _ = read_rated_responses(tables["train"], "train")
    validation, _ = read_rated_responses(tables["validation"], "validation")
    assert not {group[0].messages[:-1] for group in train} & {group[0].messages[:-1] for group in validation}
    assert len(read_preferences(tables["preference"])["train"][0]) >= 100
