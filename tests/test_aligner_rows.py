"""NeMo-Aligner's {"text", "label"} rows: what is written, what is read, and that one undoes the other."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.data.formats.aligner import pair_rows, rating_row, read_rows
from nemo_hs2pref.data.reading.rows import Line
from nemo_hs2pref.data.records import ATTRIBUTES, IGNORED, Message, PreferencePair, RatedResponse, read_jsonl
from nemo_hs2pref.data.templates import extra_id, forges_turns
from nemo_hs2pref.data.templates.extra_id import split_prompt
from nemo_hs2pref.errors import DataError

ASKED = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Bye"))
ONLY_SLOT_0 = [IGNORED] * 8


def row(response="Ciao", *label, prompt=ASKED):
    return {"text": extra_id.render((*prompt, Message("assistant", response))), "label": list(label)}


def side(response, strength, prompt=ASKED):
    return row(response, float(strength), *ONLY_SLOT_0, prompt=prompt)


def read(*rows):
    lines = [Line(number, f"file:{number}", row) for number, row in enumerate(rows, start=1)]
    return [(line.number, found) for line, found in read_rows(lines, "train")]


def faults(*rows):
    return [(number, str(found)) for number, found in read(*rows) if isinstance(found, DataError)]


# Real rows


def test_aligners_own_rating_rows_come_back_as_they_were(shared_data):
    lines = list(read_jsonl(shared_data / "nemo-aligner-test-data" / "test-rm.jsonl"))
    records = [record for _, record in read_rows([Line(n, f"file:{n}", row) for n, row in lines], "validation")]
    assert [json.dumps(rating_row(record)) for record in records] == [json.dumps(row) for _, row in lines]
    assert [record.id for record in records] == [f"validation-{number}" for number in range(1, 9)]
    assert records[0].attributes == {
        "helpfulness": 4, "correctness": 4, "coherence": 4, "complexity": 3, "verbosity": 2,
    }  # fmt: skip
    assert records[0].messages[0] == Message("user", "explain master slave replication nsql")


def test_real_preference_pairs_come_back_as_they_were(shared_data):
    path = shared_data / "helpsteer2-samples" / "preference_pairs_with_attributes.jsonl"
    rows, strengths = [], []
    for _, raw in read_jsonl(path):
        prompt, strength = split_prompt(raw["prompt"]), raw["preference_strength"]
        rows += [side(raw[f"response_{number}"], strength, prompt) for number in (1, 2)]
        strengths.append(strength)
    pairs = [pair for _, pair in read(*rows)]
    written = [row for pair in pairs for row in pair_rows(pair)]
    assert json.dumps(written) == json.dumps(rows)
    assert [pair.strength for pair in pairs] == [abs(strength) for strength in strengths]
    assert len(pairs) == 11


# Writing


def test_label_has_the_ratings_in_aligners_slots():
    rated = RatedResponse("r", (*ASKED, Message("assistant", "Ciao")), {"verbosity": 1, "quality": 3, "helpfulness": 4})
    assert rating_row(rated) == row("Ciao", 3, -100, -100, -100, 4, -100, -100, -100, 1)
    assert all(isinstance(value, float) for value in rating_row(rated)["label"])


@pytest.mark.parametrize(
    ("position", "label", "responses"),
    [(1, -2.0, ("Ciao", "No")), (2, 2.0, ("No", "Ciao")), (None, -2.0, ("Ciao", "No"))],
)
def test_both_rows_of_a_pair_carry_its_signed_strength(position, label, responses):
    pair = PreferencePair("p", ASKED, "Ciao", "No", 2, chosen_attributes={"helpfulness": 4}, chosen_position=position)
    assert pair_rows(pair) == tuple(side(response, label) for response in responses)


def test_pair_without_a_strength_cannot_be_written():
    with pytest.raises(DataError, match="pair 'p' has no strength"):
        pair_rows(PreferencePair("p", ASKED, "Ciao", "No"))


# Reading


def test_strength_above_0_means_that_the_second_response_is_better():
    assert read(side("No", 2), side("Ciao", 2), side("Ciao", -3), side("No", -3)) == [
        (1, PreferencePair("train-1", ASKED, "Ciao", "No", 2, chosen_position=2)),
        (3, PreferencePair("train-3", ASKED, "Ciao", "No", 3, chosen_position=1)),
    ]


def test_ratings_and_comparisons_of_one_prompt_are_told_apart():
    rated = row("Ciao", 1, -100, -100, -100, -100, -100, -100, -100, 0)  # slot 0 is not alone
    found = [type(found) for _, found in read(rated, side("a", 1), side("b", 1), rated, rated)]
    assert found == [RatedResponse, PreferencePair, RatedResponse, RatedResponse]


def test_row_of_a_comparison_without_its_second_is_named():
    other = (Message("user", "Why?"),)
    rated = row("Ciao", *[IGNORED] * 8, 2)
    alone = "the next row is not response 2"
    found = read(side("a", 1), side("b", 1, other), side("c", 1, other), side("d", 1), rated, side("e", 1))
    assert [(number, alone in str(found)) for number, found in found] == [
        (1, True), (2, False), (4, True), (5, False), (6, True),
    ]  # fmt: skip
    assert found[1][1] == PreferencePair("train-2", other, "c", "b", 1, chosen_position=2)


def test_strengths_that_differ_are_one_fault_for_both_rows():
    found = faults(side("a", 1), side("b", -1), side("a", 2), side("b", 2))
    assert found == [(1, found[0][1])] and "slot 0 is 1, and -1 in the next row" in found[0][1]


def test_malformed_row_inside_a_comparison_leaves_the_other_alone():
    assert [number for number, _ in faults(side("a", 1), {"text": "?", "label": []}, side("b", 1))] == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"text": "Hi"}, "expected '<extra_id_0>System"),
        ({"text": None}, '"text" is None; expected a string'),
        ({"label": [1.0] * 8}, "expected 9 numbers, one for each of quality, toxicity"),
        ({"label": [1.0] * 8 + ["1"]}, "expected 9 numbers"),
        ({"label": [1.0] * 8 + [float("nan")]}, "expected 9 numbers"),
        ({"label": 4}, '"label" is 4; expected 9 numbers'),
        ({"label": [IGNORED] * 9}, '"label" is -100 in all slots'),
        ({"label": [4.0, *ONLY_SLOT_0]}, '"label" has 4.0 in slot 0 alone, which is a strength'),
        ({"label": [0.5, *ONLY_SLOT_0]}, "expected a whole number -3 to 3"),
    ],
)
def test_malformed_row_is_a_fault_of_its_line(change, fault):
    good = row("Ciao", *[IGNORED] * 8, 2)
    ((number, found),) = faults(good, {**good, **change}, good)
    assert number == 2 and fault in found


def test_row_without_a_key_is_a_fault():
    assert 'no "label"; the keys are text' in faults({"text": row()["text"]})[0][1]


def test_rows_are_read_as_they_come():
    def rows():
        yield Line(1, "file:1", row("Ciao", *[IGNORED] * 8, 2))
        yield Line(2, "file:2", side("a", 1))
        yield Line(3, "file:3", side("b", 1))
        pytest.fail("read ahead")

    found = read_rows(rows(), "train")
    assert [next(found)[0].number, next(found)[0].number] == [1, 2]


# Round trips

TEXTS = st.text(min_size=1).filter(str.strip)
RATINGS = st.dictionaries(st.sampled_from(ATTRIBUTES), st.integers(0, 4).map(float), min_size=1)


@st.composite
def prompts(draw):
    system, texts = draw(st.none() | TEXTS), draw(st.lists(TEXTS, min_size=1, max_size=3).filter(lambda t: len(t) % 2))
    roles = ("user", "assistant", "user")
    turns = tuple(Message(role, text) for role, text in zip(roles, texts, strict=False))
    return turns if system is None else (Message("system", system), *turns)


@given(prompts(), TEXTS, RATINGS.filter(lambda ratings: set(ratings) != {"quality"}))
def test_rating_comes_back_from_its_row(prompt, response, ratings):
    rated = RatedResponse("train-1", (*prompt, Message("assistant", response)), ratings)
    if not forges_turns(rated.messages):
        assert read(rating_row(rated)) == [(1, rated)]


@given(prompts(), TEXTS, TEXTS, st.integers(1, 3), st.sampled_from([1, 2]))
def test_pair_comes_back_from_its_rows(prompt, chosen, rejected, strength, position):
    pair = PreferencePair("train-1", prompt, chosen, rejected, strength, chosen_position=position)
    if not any(forges_turns(side.messages) for side in pair.conversations()):
        assert read(*pair_rows(pair)) == [(1, pair)]
