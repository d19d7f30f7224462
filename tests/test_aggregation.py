"""From panels of annotators to one label, against the released panels and the rules of the papers."""

import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.data.aggregation import (
    UNUSABLE,
    aggregate_preference,
    aggregate_ratings,
    most_similar_ratings,
    preference_panel,
)
from nemo_hs2pref.errors import DataError

votes = st.sampled_from([-3, -2, -1, 1, 2, 3])
panels = st.lists(st.one_of(votes, st.just(UNUSABLE)), min_size=0, max_size=5)
ratings = st.lists(st.integers(0, 4), min_size=5, max_size=5)


def strength_of(panel):
    aggregated = aggregate_preference(panel)
    return None if aggregated is None else aggregated.strength


# Preferences


def test_released_panels_give_the_released_strengths(shared_data):
    path = shared_data / "helpsteer2-samples" / "raw_panels_vs_official_strength.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 7
    for row in rows:
        # The released file keeps strength 0; the paper, and we, drop it.
        assert (strength_of(row["raw_strengths"]) or 0) == row["preference_strength"], row


@pytest.mark.parametrize(
    ("panel", "strength", "indices"),
    [
        ([2, 2, 2], 2, (0, 1, 2)),
        ([1, 2, 3], 2, (0, 1, 2)),
        ([-3, -1, 1, -2, -1], -1, (1, 3, 4)),  # released
        ([1, 2, 1, -1, 2], 2, (0, 1, 4)),  # released: a tie of (1, 1, 2) and (1, 2, 2)
        ([-1, -2, -1, 1, -2], -2, (0, 1, 4)),  # its mirror image
        ([3, 3, -100, -3, 3], 3, (0, 1, 4)),
        ([1, 1, 3], 2, (0, 1, 2)),  # a spread of 2 is kept
    ],
)
def test_three_most_similar_are_averaged(panel, strength, indices):
    aggregated = aggregate_preference(panel)
    assert aggregated is not None
    assert (aggregated.strength, aggregated.indices) == (strength, indices)


@pytest.mark.parametrize(
    "panel",
    [
        [],
        [3, 3],
        [3, 3, -100],  # two usable
        [-100, -100, -100, 2, 2],
        [1, 1, -2],  # spread 3
        [-3, 1, 3],
        [1, 1, -1],  # mean 1/3
        [1, 1, -1, -1],  # (1, 1, -1) and (1, -1, -1) are equally similar: 0 either way
    ],
)
def test_task_without_agreement_is_dropped(panel):
    assert aggregate_preference(panel) is None


def test_unusable_answers_are_taken_out_before_the_three_are_chosen():
    assert strength_of([-100, -100, -100, 2, 2, 2]) == 2  # and not the three that agree on -100


@given(panels, st.randoms(use_true_random=False))
def test_order_of_annotators_does_not_matter(panel, random):
    shuffled = random.sample(panel, len(panel))
    assert strength_of(shuffled) == strength_of(panel)


@given(panels)
def test_swapping_the_responses_turns_the_preference(panel):
    mirrored = [vote if vote == UNUSABLE else -vote for vote in panel]
    strength = strength_of(panel)
    assert strength_of(mirrored) == (None if strength is None else -strength)


@given(votes, panels.filter(lambda panel: len(panel) <= 2), st.randoms(use_true_random=False))
def test_three_equal_votes_always_survive(vote, others, random):
    panel = [vote] * 3 + others
    random.shuffle(panel)
    assert strength_of(panel) == vote


@given(panels)
def test_no_other_three_are_closer(panel):
    aggregated = aggregate_preference(panel)
    if aggregated is None:
        return
    kept = [panel[index] for index in aggregated.indices]
    usable = [vote for vote in panel if vote != UNUSABLE]
    assert max(kept) - min(kept) == min(max(three) - min(three) for three in combinations(usable, 3)) <= 2
    assert abs(aggregated.strength - sum(kept) / 3) < 0.5
    assert 1 <= abs(aggregated.strength) <= 3


@pytest.mark.parametrize("wrong", [4, -99, 1.5])
def test_vote_outside_the_scale_is_refused_with_its_position(wrong):
    with pytest.raises(DataError, match=rf"preference\[1\] is {wrong}; expected an integer -3 to 3, or -100"):
        aggregate_preference([1, wrong, 1])


@pytest.mark.parametrize(
    ("panel", "kept", "result"),
    [
        ([2, 1, -100, 2], (2, 1, 2), 2),
        ([1, 1, -1], (1, 1, -1), 0),  # a tie has a result, and no pair is made of it
        ([1, 1, -2], None, None),
        ([1, 1], None, None),
    ],
)
def test_panel_says_what_was_averaged(panel, kept, result):
    found = preference_panel(panel, released=1)
    assert (found.values, found.kept, found.result, found.released) == (tuple(panel), kept, result, 1)


# Ratings


def test_ratings_of_the_three_who_agree_on_helpfulness_are_averaged():
    panel = {"helpfulness": [0, 4, 4, 1, 3], "correctness": [4, 2, 3, 4, 3], "verbosity": [0, 2, 2, 0, 1]}
    # Annotators 1, 2 and 4: helpfulness 11/3, correctness 8/3, verbosity 5/3.
    assert aggregate_ratings(panel) == {"helpfulness": 4, "correctness": 3, "verbosity": 2}


def test_equal_agreement_on_helpfulness_is_decided_by_the_other_attributes():
    panel = {"helpfulness": [2, 2, 3, 3], "coherence": [4, 4, 4, 0]}
    assert aggregate_ratings(panel) == {"helpfulness": 2, "coherence": 4}  # annotators 0, 1, 2
    # Helpfulness still comes first: 0, 1, 2 agree on it, although 1, 2, 3 agree better over all.
    panel = {"helpfulness": [2, 2, 2, 3], "coherence": [0, 4, 4, 4]}
    assert aggregate_ratings(panel) == {"helpfulness": 2, "coherence": 3}


def test_ratings_are_dropped_when_even_the_three_closest_spread_over_more_than_two():
    assert aggregate_ratings({"helpfulness": [0, 3, 1], "coherence": [4, 4, 4]}) is None
    assert aggregate_ratings({"helpfulness": [0, 2, 1], "coherence": [0, 4, 4]}) == {"helpfulness": 1, "coherence": 3}


def test_annotator_who_left_an_attribute_out_does_not_count():
    assert aggregate_ratings({"helpfulness": [3, 3, 3], "coherence": [4, -100, 4]}) is None
    assert aggregate_ratings({"helpfulness": [1, 4, 1, 1], "coherence": [2, -100, 2, 2]}) == {
        "helpfulness": 1,
        "coherence": 2,
    }


@given(ratings, ratings, st.permutations(range(5)))
def test_order_of_raters_does_not_matter(helpfulness, complexity, order):
    panel = {"helpfulness": helpfulness, "complexity": complexity}
    shuffled = {name: [column[index] for index in order] for name, column in panel.items()}
    assert aggregate_ratings(shuffled) == aggregate_ratings(panel)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=2), st.integers(0, 4), ratings, st.permutations(range(5)))
def test_three_raters_who_agree_always_survive(others, rating, complexity, order):
    panel = {"helpfulness": [rating] * 3 + others, "complexity": complexity}
    shuffled = {name: [column[index] for index in order] for name, column in panel.items()}
    aggregated = aggregate_ratings(shuffled)
    assert aggregated is not None and aggregated["helpfulness"] == rating


@given(ratings, ratings)
def test_ratings_stay_within_what_was_given_and_no_other_three_are_closer(helpfulness, complexity):
    panel = {"helpfulness": helpfulness, "complexity": complexity}
    triple = most_similar_ratings(panel)
    assert triple is not None
    spread = max(helpfulness[index] for index in triple) - min(helpfulness[index] for index in triple)
    assert spread == min(max(three) - min(three) for three in combinations(helpfulness, 3))
    aggregated = aggregate_ratings(panel)
    assert (aggregated is None) == (spread > 2)
    for name, rating in (aggregated or {}).items():
        assert min(panel[name]) <= rating <= max(panel[name])


@pytest.mark.parametrize(
    ("panel", "fault"),
    [
        ({"correctness": [1, 2, 3]}, 'panel has no "helpfulness", only correctness'),
        ({"helpfulness": [1, 2, 3], "humour": [1, 2, 3]}, "unknown attribute 'humour'"),
        ({"helpfulness": [1, 2, 3], "coherence": [4, 4]}, "2 ratings of coherence and 3 of helpfulness"),
        ({"helpfulness": [1, 5, 3]}, r"helpfulness\[1\] is 5; expected an integer 0 to 4, or -100"),
    ],
)
def test_panel_that_makes_no_sense_is_refused(panel, fault):
    with pytest.raises(DataError, match=fault):
        aggregate_ratings(panel)
