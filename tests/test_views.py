"""The further files of a preparation: SFT, prompts, DPO, justifier, NeMo-Aligner; and responses that change places."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.data.justifier import justification_of, swap_responses
from nemo_hs2pref.data.preparation.swaps import swapped
from nemo_hs2pref.data.preparation.views import VIEWS
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.data.records import (
    Conversation,
    Message,
    PreferencePair,
    RatedResponse,
    parse_conversation,
    parse_pair,
    read_jsonl,
)
from nemo_hs2pref.data.templates.extra_id import split_prompt
from nemo_hs2pref.errors import DataError

PROMPT = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Which?"))
WHY = "@Response 1 names three; @Response 2 names none. @Response 1 is better than @Response 2."
YHW = "@Response 2 names three; @Response 1 names none. @Response 2 is better than @Response 1."
PAIR = PreferencePair("p", PROMPT, "yes", "no", 2, justification=WHY, chosen_position=1)


def rated(*helpfulness, prompt=PROMPT, name="train-7"):
    """The rated responses "a", "b", ... of one prompt."""
    return tuple(
        RatedResponse(f"{name}:{n}", (*prompt, Message("assistant", text)), {"helpfulness": value, "verbosity": 2})
        for n, (text, value) in enumerate(zip("abcd", helpfulness, strict=False), start=1)
    )


def rows(name, *groups):
    """What the view writes into one file."""
    with tempfile.TemporaryDirectory() as folder, Scratch(Path(folder) / "scratch.sqlite") as scratch:
        make_rows = VIEWS[name].start(scratch)
        return [row for group in groups for row in make_rows(group)]


# sft


@pytest.mark.parametrize(("helpfulness", "best"), [((1, 3), 2), ((3, 1), 1), ((2, 2), 1), ((0, 4, 4, 1), 2), ((0,), 1)])
def test_sft_has_the_most_helpful_response_and_of_equals_the_first(helpfulness, best):
    group = rated(*helpfulness)
    (row,) = rows("sft", group)
    expected = group[best - 1]
    assert parse_conversation(row) == Conversation(expected.id, expected.messages)
    assert set(row) == {"id", "messages"}


def test_sft_needs_helpfulness():
    unrated = tuple(replace(response, attributes={"quality": 4}) for response in rated(1, 2))
    assert rows("sft", unrated, ()) == []
    assert [row["id"] for row in rows("sft", (unrated[0], rated(0, 0)[1]))] == ["train-7:2"]


# prompts


def test_every_prompt_is_written_once():
    other = (Message("system", "Be brief."), *PROMPT)
    written = rows("prompts", rated(1, 2), rated(3, prompt=other, name="train-8"), rated(0, name="train-9"), (PAIR,))
    assert written == [
        {"id": "train-7", "prompt": [message.to_json() for message in PROMPT]},
        {"id": "train-8", "prompt": [message.to_json() for message in other]},
    ]
    assert rows("prompts", (PAIR,)) == [{"id": "p", "prompt": written[0]["prompt"]}]  # another preparation starts anew


# dpo


def test_dpo_orders_the_two_responses_by_helpfulness():
    first, second = rated(3, 1)
    (row,) = rows("dpo", (first, second))
    expected = PreferencePair(
        "train-7", PROMPT, "a", "b", None, None, first.attributes, second.attributes, chosen_position=1
    )
    assert parse_pair(row) == expected
    assert "strength" not in row
    (other,) = rows("dpo", rated(1, 3))
    assert (other["chosen"], other["rejected"], other["chosen_position"]) == ("b", "a", 2)


def test_dpo_leaves_out_ties_and_single_responses_and_takes_the_extremes_of_more():
    assert rows("dpo", rated(2, 2), rated(4), ()) == []
    (row,) = rows("dpo", rated(2, 0, 4, 3))
    assert (row["chosen"], row["rejected"], row["chosen_position"]) == ("c", "b", 2)


def test_dpo_of_real_ratings_has_every_prompt_whose_responses_differ(shared_data):
    real = [row for _, row in read_jsonl(shared_data / "helpsteer2-samples" / "hs2.jsonl")]
    groups, differ = [], 0
    for first, second in zip(real[::2], real[1::2], strict=True):
        prompt, helpfulness = split_prompt(first["prompt"]), [row["reference_helpfulness"] for row in (first, second)]
        groups.append(rated(*helpfulness, prompt=prompt))
        differ += helpfulness[0] != helpfulness[1]
    written = [parse_pair(row) for row in rows("dpo", *groups)]
    assert all(pair.chosen_attributes["helpfulness"] > pair.rejected_attributes["helpfulness"] for pair in written)
    assert len(written) == differ == 29  # of 50


# justifier


def test_justifier_reads_both_responses_and_says_why_in_both_orders():
    asked = "Which? @Response 1:\n{}\n@Response 2:\n{}\nBetween @Response 1 and @Response 2, which is better?"
    before = [message.to_json() for message in PROMPT[:2]]
    assert rows("justifier", (PAIR,)) == [
        {
            "id": name,
            "messages": [
                *before,
                {"role": "user", "content": asked.format(*responses)},
                {"role": "assistant", "content": reason},
            ],
        }
        for name, responses, reason in [("p:12", ("yes", "no"), WHY), ("p:21", ("no", "yes"), YHW)]
    ]


def test_justifier_shows_the_order_that_the_annotators_saw_first():
    seen, turned = rows("justifier", (replace(PAIR, chosen_position=2, justification=YHW),))
    assert "@Response 1:\nno\n@Response 2:\nyes\n" in seen["messages"][-2]["content"]
    assert (seen["messages"][-1]["content"], turned["messages"][-1]["content"]) == (YHW, WHY)


def test_justifier_passes_over_pairs_without_a_reason_or_its_reference():
    assert rows("justifier", (replace(PAIR, justification=None),), (replace(PAIR, chosen_position=None),)) == []


@pytest.mark.parametrize(
    ("text", "other"),
    [
        (WHY, YHW),
        ("@response 2's code; @Response1 fails", "@response 1's code; @Response2 fails"),
        ("Response 1, not Response 2", "Response 2, not Response 1"),
        ("@Response 12, responses 1, 1 and 2", "@Response 12, responses 1, 1 and 2"),
        ("response 1 is right, RESPONSE 2 is not", "response 2 is right, RESPONSE 1 is not"),
    ],
)
def test_responses_change_places_in_a_reason_all_at_once(text, other):
    assert swap_responses(text) == other


@pytest.mark.parametrize(
    ("elaboration", "statement", "text"),
    [
        ("It is right. ", "@Response 1 is better.", "It is right. @Response 1 is better."),
        (None, "@Response 1 is better.", "@Response 1 is better."),
        (" ", "@Response 1 is better.", "@Response 1 is better."),
        ("It is right.", None, None),
        ("It is right.", "", None),
    ],
)
def test_justification_ends_with_the_statement(elaboration, statement, text):
    assert justification_of(elaboration, statement) == text


# aligner


def test_aligner_has_a_row_a_rating_and_two_rows_a_pair():
    texts = [row["text"].splitlines()[-2] for row in rows("aligner", rated(1, 3))]
    assert texts == ["a", "b"]
    first, second = rows("aligner", (PAIR,))
    assert first["label"] == second["label"] == [-2.0, *[-100.0] * 8]
    assert (first["text"].splitlines()[-2], second["text"].splitlines()[-2]) == ("yes", "no")


def test_aligner_gets_no_ties_which_it_would_learn_and_no_pairs_without_a_strength():
    assert rows("aligner", (replace(PAIR, strength=0),)) == []
    with pytest.raises(DataError, match="no strength"):
        rows("aligner", (replace(PAIR, strength=None),))


# swapped responses


def test_swapped_pair_is_the_same_judgement_seen_in_the_other_order():
    (pair,) = swapped((PAIR,))
    assert pair == replace(PAIR, chosen_position=2, justification=YHW)
    before, after = rows("aligner", (PAIR,)), rows("aligner", (pair,))
    assert [row["text"] for row in after] == [row["text"] for row in before[::-1]]
    assert [row["label"][0] for row in after] == [2.0, 2.0]  # the strength changes its sign


def test_swapped_ratings_change_their_order_alone():
    group = rated(1, 3)
    assert swapped(group) == group[::-1]
    assert rows("dpo", swapped(group))[0]["chosen_position"] == 1


REASONS = st.none() | st.lists(st.sampled_from(["@Response 1", "Response 2", "@response1", " ", "12", "x"])).map(
    "".join
)


@given(REASONS, st.sampled_from([None, 1, 2]), st.integers(0, 3))
def test_swapping_twice_gives_the_group_back(reason, position, strength):
    group = (replace(PAIR, justification=reason, chosen_position=position, strength=strength),)
    assert swapped(swapped(group)) == group
    assert rows("justifier", swapped(group)) == [
        {**row, "id": name} for row, name in zip(rows("justifier", group)[::-1], ("p:12", "p:21"), strict=False)
    ]


@pytest.mark.parametrize("name", VIEWS)
def test_view_makes_nothing_of_groups_of_another_kind(name):
    groups = {"ratings": rated(1, 3), "pairs": (PAIR,)}
    made_of = {kind for kind, group in groups.items() if rows(name, group)}
    assert made_of == set(VIEWS[name].reads)
