"""A team's own annotations: the form of a task, and what becomes of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.data.formats.annotated_tasks import found_in_task
from nemo_hs2pref.data.formats.annotations import parse_task
from nemo_hs2pref.data.groups import Dropped, Kept, Panel
from nemo_hs2pref.data.reading.split import split_of_prompt
from nemo_hs2pref.data.records import Message, PreferencePair, RatedResponse
from nemo_hs2pref.errors import DataError

FIVE = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
PROMPT = Message("user", "Why is the sky blue?")
RESPONSES = ("It reflects the sea.", "Air scatters blue light more than red.")
SHORT, LONG = "@Response 2 is right.", "@Response 2 gives the true reason, @Response 1 a myth."


def rated(*numbers):
    return dict(zip(FIVE, numbers, strict=True))


# The worked example of the docs: annotators a to e.
EXAMPLE = {
    "id": "sky",
    "prompt": PROMPT.content,
    "response_1": RESPONSES[0],
    "response_2": RESPONSES[1],
    "annotations": [
        {"ratings_1": rated(2, 2, 4, 1, 1), "ratings_2": rated(3, 3, 4, 2, 2), "preference": 1, "justification": SHORT},
        {"ratings_1": rated(1, 2, 3, 1, 2), "ratings_2": rated(4, 4, 4, 2, 3), "preference": 2, "justification": LONG},
        {"ratings_1": rated(3, 3, 4, 2, 2), "ratings_2": rated(3, 4, 4, 1, 2), "preference": -1},
        {"ratings_1": rated(1, 1, 4, 1, 1), "ratings_2": rated(3, 4, 4, 2, 2), "preference": 2, "justification": "Yes"},
        {"ratings_1": rated(0, 0, 2, 1, 1), "ratings_2": rated(1, 2, 3, 1, 2), "preference": -100},
    ],
}


def task_row(annotations, **changes):
    return {**EXAMPLE, "annotations": annotations, **changes}


def preferring(*values, **changes):
    return task_row([{"preference": value} for value in values], **changes)


def helpful(first, second, **changes):
    """Ratings of helpfulness alone, by annotator."""
    both = zip(first, second, strict=True)
    return task_row(
        [{"ratings_1": {"helpfulness": one}, "ratings_2": {"helpfulness": other}} for one, other in both], **changes
    )


def found(row, split="train"):
    return list(found_in_task(parse_task(row), split, "file:7"))


def kept(things):
    return [record for thing in things if isinstance(thing, Kept) for record in thing.records]


def dropped(things):
    return [(thing.kind, thing.id, thing.reason) for thing in things if isinstance(thing, Dropped)]


# What becomes of a task


def test_worked_example_gives_two_rated_responses_and_a_pair():
    things = found(EXAMPLE)
    first = rated(1, 2, 4, 1, 1)  # annotators 0, 1, 3: 4/3, 5/3, 11/3, 3/3, 4/3
    second = rated(3, 4, 4, 2, 2)  # annotators 0, 2, 3, who agree on helpfulness: 9/3, 11/3, 12/3, 5/3, 6/3
    assert kept(things) == [
        RatedResponse("sky:1", (PROMPT, Message("assistant", RESPONSES[0])), first),
        RatedResponse("sky:2", (PROMPT, Message("assistant", RESPONSES[1])), second),
        PreferencePair(
            "sky",
            (PROMPT,),
            chosen=RESPONSES[1],
            rejected=RESPONSES[0],
            strength=2,  # annotators 0, 1, 3: 5/3
            chosen_attributes=second,
            rejected_attributes=first,
            justification=LONG,
            chosen_position=2,
        ),
    ]
    assert not dropped(things)


def test_worked_example_says_what_the_annotators_said():
    panels = [thing for thing in found(EXAMPLE) if isinstance(thing, Panel)]
    assert [panel.question for panel in panels] == [*FIVE, *FIVE, "preference"]
    assert panels[0] == Panel("helpfulness", (2, 1, 3, 1, 0), kept=(2, 1, 1), result=1)
    assert panels[6] == Panel("correctness", (3, 4, 4, 4, 2), kept=(3, 4, 4), result=4)
    assert panels[10] == Panel("preference", (1, 2, -1, 2, -100), kept=(1, 2, 2), result=2)


def test_rated_responses_of_a_task_stay_together():
    groups = [thing for thing in found(EXAMPLE, "validation") if isinstance(thing, Kept)]
    assert [(group.kind, group.split, len(group.records)) for group in groups] == [
        ("ratings", "validation", 2),
        ("pairs", "validation", 1),
    ]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([3, 3], "too_few_annotations"),
        ([3, -100, 3, -100], "too_few_annotations"),
        ([-1, 2, 3], "disagreement"),
        ([-1, 1, 1], "tie"),
    ],
)
def test_pair_without_a_clear_preference_is_dropped_for_its_reason(values, reason):
    (panel, drop) = found(preferring(*values))
    assert drop == Dropped("pairs", "train", reason, "file:7", "sky")
    assert (panel.result, panel.kept) == ((0, (-1, 1, 1)) if reason == "tie" else (None, None))


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ([4, 4, 4], [0, 3, 1], "disagreement"),
        ([0, 3, 1], [4, 4, 4], "disagreement"),
        ([4, 4], [3, 3], "too_few_annotations"),
        ([4, 4, 4], [3, None, 3], "too_few_annotations"),
    ],
)
def test_ratings_of_both_responses_are_dropped_where_those_of_one_cannot_be_used(first, second, reason):
    things = found(helpful(first, second))
    assert dropped(things) == [("ratings", "sky:1", reason), ("ratings", "sky:2", reason)]
    assert not kept(things)
    assert all(panel.kept is None for panel in things if isinstance(panel, Panel))


def test_annotator_who_leaves_an_attribute_out_does_not_count_for_that_response():
    row = json.loads(json.dumps(EXAMPLE))
    del row["annotations"][0]["ratings_2"]["verbosity"]
    second = kept(found(row))[1]
    # Of 1, 2, 3 and 4 the first three are closest: helpfulness 4, 3, 3; verbosity 3, 2, 2
    assert second.attributes == rated(3, 4, 4, 2, 2)
    row["annotations"][2]["ratings_2"], row["annotations"][3]["ratings_2"] = {}, {"verbosity": None}
    assert dropped(found(row)) == [
        ("ratings", "sky:1", "too_few_annotations"),
        ("ratings", "sky:2", "too_few_annotations"),
    ]


def test_ratings_without_helpfulness_are_dropped():
    things = found(task_row([{"ratings_1": {"verbosity": 2}, "ratings_2": {}}] * 3))
    assert {reason for _, _, reason in dropped(things)} == {"too_few_annotations"}
    panels = [thing for thing in things if isinstance(thing, Panel)]
    assert [panel.question for panel in panels] == ["helpfulness", "verbosity"] * 2


def test_pair_is_kept_without_ratings_where_the_ratings_are_dropped():
    row = json.loads(json.dumps(EXAMPLE))
    row["annotations"] = row["annotations"][:3]
    for annotation, helpfulness in zip(row["annotations"], [0, 4, 4], strict=True):
        annotation["ratings_1"]["helpfulness"] = helpfulness
        annotation["preference"] = 2
    (pair,) = kept(found(row))
    assert (pair.strength, pair.chosen_attributes, pair.rejected_attributes) == (2, {}, {})


def test_tasks_may_have_ratings_alone_or_preferences_alone():
    assert [record.id for record in kept(found(helpful([3, 3, 3], [2, 2, 2])))] == ["sky:1", "sky:2"]
    (pair,) = kept(found(preferring(-3, -3, -2)))
    assert (pair.chosen, pair.strength, pair.chosen_position) == (RESPONSES[0], 3, 1)
    assert (pair.justification, pair.chosen_attributes) == (None, {})


@pytest.mark.parametrize(
    ("texts", "chosen"),
    [
        ([None, "b", None, "d"], "b"),  # 2 is the overall preference, and b the first who said it
        ([None, " ", None, "d"], "d"),
        (["a", None, "c", ""], "a"),  # further off, but of the three
        ([None, None, "c", None], None),  # not of the three
    ],
)
def test_justification_is_the_nearest_of_the_three(texts, chosen):
    both = zip([1, 2, -1, 2], texts, strict=True)
    row = task_row([{"preference": preference, "justification": text} for preference, text in both])
    (pair,) = kept(found(row))
    assert pair.justification == chosen


def test_response_without_text_is_left_out_alone_and_its_pair_too():
    things = found({**EXAMPLE, "response_1": " \n"})
    assert dropped(things) == [("ratings", "sky:1", "empty_response"), ("pairs", "sky", "empty_response")]
    assert [record.id for record in kept(things)] == ["sky:2"]


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        [],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    ],
)
def test_prompt_whose_turns_do_not_alternate_is_dropped(prompt):
    things = found({**EXAMPLE, "prompt": prompt})
    reasons = [("ratings", "sky:1"), ("ratings", "sky:2"), ("pairs", "sky")]
    assert dropped(things) == [(*where, "bad_turns") for where in reasons]


def test_prompt_may_have_turns():
    turns = [("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("user", "c")]
    row = preferring(1, 1, 1, prompt=[{"role": role, "content": content} for role, content in turns])
    (pair,) = kept(found(row))
    assert pair.prompt == tuple(Message(*turn) for turn in turns)


votes = st.lists(st.sampled_from([-3, -2, -1, 1, 2, 3, -100]), min_size=1, max_size=5)


@given(votes)
def test_swapping_the_responses_turns_the_pair(values):
    mirrored = [value if value == -100 else -value for value in values]
    straight = found(preferring(*values))
    turned = found(preferring(*mirrored, response_1=RESPONSES[1], response_2=RESPONSES[0]))
    assert dropped(straight) == dropped(turned)
    for pair, other in zip(kept(straight), kept(turned), strict=True):
        assert (pair.chosen, pair.rejected, pair.strength) == (other.chosen, other.rejected, other.strength)
        assert {pair.chosen_position, other.chosen_position} == {1, 2}


def test_real_tasks_give_the_released_pairs(shared_data):
    path = shared_data / "helpsteer2-samples" / "preference_pairs_with_attributes.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    known = [row for row in rows if row.get("raw_strengths")]
    assert len(known) == 3
    for row in known:
        annotations = [{"preference": strength} for strength in row["raw_strengths"]]
        texts = {key: row[key] for key in ("prompt", "response_1", "response_2")}
        (pair,) = kept(found({"id": row["preference_row_0based"], **texts, "annotations": annotations}))
        assert pair.chosen == row["response_2" if row["preference_strength"] > 0 else "response_1"]
        assert pair.strength == abs(row["preference_strength"])


# Splits


def splits(number, share=0.05, **changes):
    prompts = (parse_task(preferring(1, 1, 1, prompt=f"prompt {n}", **changes)).prompt for n in range(number))
    return [split_of_prompt(prompt, share) for prompt in prompts]


def test_given_split_is_kept():
    assert parse_task(preferring(1, 1, 1, split="validation")).split == "validation"
    assert parse_task(preferring(1, 1, 1)).split is None


@pytest.mark.parametrize(("share", "low", "high"), [(0.05, 150, 250), (0.5, 1880, 2120), (0.0, 0, 0)])
def test_share_of_the_prompts_is_for_validation(share, low, high):
    assert low <= splits(4000, share).count("validation") <= high  # of 5 %: 200, standard deviation 13.8


def test_prompt_alone_decides_the_split_and_a_larger_share_takes_no_prompt_back():
    assert splits(300, id="other", response_1="Other.") == splits(300)
    messages = ((Message("user", f"prompt {n}"),) for n in range(300))
    assert [split_of_prompt(prompt, 0.05) for prompt in messages] == splits(300)
    small, large = splits(300, 0.1), splits(300, 0.3)
    assert {n for n in range(300) if small[n] == "validation"} < {n for n in range(300) if large[n] == "validation"}


# Form


def annotated(**changes):
    """Three annotations, the second of them changed."""
    whole = {"ratings_1": rated(2, 2, 4, 1, 1), "ratings_2": rated(3, 3, 4, 2, 2), "preference": 1}
    return task_row([whole, {**whole, **changes}, whole])


def missing(key):
    row = annotated()
    row["annotations"][1] = {name: value for name, value in row["annotations"][1].items() if name != key}
    return row


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (annotated(preference=0), r'annotations\[1\]: "preference" is 0; .*a single annotator has no tie'),
        (annotated(preference=4), r'annotations\[1\]: "preference" is 4; expected -3, -2, -1, 1, 2 or 3'),
        (annotated(preference=True), r'annotations\[1\]: "preference" is True'),
        (annotated(preference=1.5), r'annotations\[1\]: "preference" is 1.5'),
        (annotated(ratings_2=rated(3, 3, 4, 5, 2)), r'annotations\[1\]: "ratings_2": "complexity" is 5; expected'),
        (annotated(ratings_1={"humour": 2}), r"annotations\[1\]: \"ratings_1\" has the unknown name 'humour'; the"),
        (annotated(ratings_1=[2, 2]), r'annotations\[1\]: "ratings_1" is \[2, 2\]; expected an object such as'),
        (annotated(justification=3), r'annotations\[1\]: "justification" is 3; expected a string'),
        (missing("ratings_2"), r'annotations\[1\]: "ratings_1" stands alone; give "ratings_1" and "ratings_2", or'),
        (missing("preference"), r'annotations\[1\] has no "preference", which others of the task have'),
        (task_row([{"annotator": "ann"}, {}]), 'the annotations have neither "ratings_1" and "ratings_2" nor "pref'),
        (task_row([{"annotator": "ann", "preference": 1}] * 2), "has two of the annotator 'ann'"),
        (task_row([]), r'"annotations" is \[\]; expected a list of objects'),
        (task_row([1]), r'"annotations" is \[1\]; expected a list of objects'),
        ({**EXAMPLE, "split": "test"}, "\"split\" is 'test'; expected one of train, validation"),
        ({**EXAMPLE, "response_2": None}, '"response_2" is None; expected a string'),
        ({**EXAMPLE, "prompt": [{"role": "human", "content": "a"}]}, "\"role\" is 'human'"),
        ({"id": "sky"}, 'no "annotations"; the keys are id'),
    ],
)  # fmt: skip
def test_task_of_another_form_is_refused_with_key_and_position(row, fault):
    with pytest.raises(DataError, match=fault):
        parse_task(row)
