"""RewardBench 2: best of four with ties at the top, and the domain Ties by its own rule."""

import json
import math
from math import tanh

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.data.records import Message
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.rewardbench2 import DOMAINS, Item, evaluate_rewardbench2, scored_pair, ties_score
from nemo_hs2pref.evaluation.statistics import bootstrap_interval

PROMPT = (Message("user", "Why?"),)


def item(name: str, subset: str, correct: int = 1, wrong: int = 3) -> Item:
    """Its n-th completion has n characters."""
    texts = ["x" * number for number in range(1, correct + wrong + 1)]
    return Item(name, PROMPT, tuple(texts[:correct]), tuple(texts[correct:]), subset)


def given_rewards(rows, subset="Ties"):
    """Items and rewards of {id: (rewards of the correct, rewards of the wrong completions)}."""
    items = [item(name, subset, len(correct), len(wrong)) for name, (correct, wrong) in rows.items()]
    rewards = {}
    for one, (correct, wrong) in zip(items, rows.values(), strict=True):
        rewards |= dict(zip([text.id for text in one.conversations()], [*correct, *wrong], strict=True))
    return items, rewards


MATH = {
    "on top": ([3], [1, 2, 0]),  # 1
    "one of three": ([2], [2, 2, 1]),  # 1/3
    "below": ([1], [3, 0, 0]),  # 0
    "one of two": ([5], [0, 5, 0]),  # 1/2
}
TIES = {
    # number: gap(ref), gap(tied), spread -> preferred, preferred hard, tanh
    "ref:0": ([5], [2, 1]),  # 3
    "tied:0": ([4, 6], [3]),  # 1, 2 -> no, no, tanh(1 / 2 - 1)
    "ref:1": ([1], [2]),  # -1
    "tied:1": ([3.5, 3], [1]),  # 2, 0.5 -> yes, no, tanh(-1 / 0.5 - 1)
    "ref:2": ([2], [1]),  # 1
    "tied:2": ([2, 2], [1]),  # 1, 0 -> yes, yes, 1
    "ref:3": ([2], [1]),  # 1
    "tied:3": ([2, 2], [2]),  # 0, 0 -> no, no, 0
    "ref:4": ([2], [1]),  # 1; no tied prompt: it counts in the accuracy and nowhere else
}


def test_best_of_four_counted_by_hand() -> None:
    items, rewards = given_rewards(MATH, "Math")
    report = evaluate_rewardbench2(items, rewards)
    credits = [1, 1 / 3, 0, 1 / 2]
    assert report.domains["Math"].score == pytest.approx(sum(credits) / 4)
    assert report.domains["Math"].interval == bootstrap_interval(credits)
    assert report.domains["Math"].length_only_score == 0  # the correct one is the shortest everywhere
    assert (report.prompts, report.pairs, report.ties) == (4, 12, 3)
    assert report.domains["Math"].shorter_only_score == 1
    assert (report.accuracy, report.length_only_accuracy, report.shorter_only_accuracy) == (8 / 12, 0, 1)
    assert report.overall is None and report.length_only_overall is None
    assert report.incomplete == {"Overall": ["Factuality", "Precise IF", "Safety", "Focus", "Ties"]}
    assert vars(report.unofficial_counts["Math"]) == {"found": 4, "released": 183}


def test_ties_counted_by_hand() -> None:
    items, rewards = given_rewards(TIES)
    terms = ties_score(items, rewards)
    assert terms is not None
    assert (terms.ref_accuracy, terms.tied_accuracy) == (4 / 5, 3 / 4)
    assert (terms.preferred, terms.preferred_hard) == (2 / 4, 1 / 4)
    margin = (tanh(1 / 2 - 1) + tanh(-1 / 0.5 - 1) + 1 + 0) / 4
    assert terms.margin == pytest.approx(margin, abs=1e-15)
    expected = 0.3 * 4 / 5 + 0.3 * 3 / 4 + 0.2 * 2 / 4 + 0.2 * 1 / 4 + 0.01 * margin
    report = evaluate_rewardbench2(items, rewards)
    assert report.domains["Ties"].score == terms.score == pytest.approx(expected, abs=1e-15)
    assert report.domains["Ties"].interval is None and report.ties_terms == terms


@pytest.mark.parametrize(("gap", "margin"), [(1, 1.0), (0, 0.0), (-1, -1.0)])
def test_correct_completions_that_are_rated_alike_give_the_sign_of_the_gap(gap, margin) -> None:
    items, rewards = given_rewards({"ref:7": ([5], [0]), "tied:7": ([2, 2], [2 - gap])})
    terms = ties_score(items, rewards)
    assert terms is not None and terms.margin == margin


def test_perfect_rewards_reach_a_hundredth_above_one_in_ties_alone() -> None:
    items, rewards = given_rewards({"ref:0": ([1], [0]), "tied:0": ([1, 1], [0])})
    for name in ("Factuality", "Precise IF", "Math", "Safety", "Focus"):
        more, their = given_rewards({name: ([1], [0, 0, 0])}, name)
        items, rewards = items + more, rewards | their
    report = evaluate_rewardbench2(items, rewards)
    assert report.domains["Ties"].score == pytest.approx(1.01)
    assert report.overall == pytest.approx((5 + 1.01) / 6)
    assert report.incomplete == {} and list(report.domains) == list(DOMAINS)
    # By length: 0 in the five, for the correct ones are the shortest; tied:0 has 1 and 2 characters against 3
    assert report.length_only_overall == pytest.approx(0.01 * tanh((1 - 3) / (2 - 1) - 1) / 6)
    assert "Overall" in report.table() and "not scored" not in report.table()


def test_ties_without_a_couple_is_a_named_gap() -> None:
    items, rewards = given_rewards({"ref:0": ([1], [0]), "tied:1": ([1, 1], [0])})
    report = evaluate_rewardbench2(items, rewards)
    assert report.domains == {} and report.ties_terms is None
    assert report.incomplete == {"Ties": ["a prompt ref:N with its tied:N"], "Overall": list(DOMAINS)}
    assert "not scored: Ties, which lacks a prompt ref:N with its tied:N" in report.table()


def test_report_is_plain_json() -> None:
    items, rewards = given_rewards(TIES)
    read = json.loads(json.dumps(evaluate_rewardbench2(items, rewards).to_json(), allow_nan=False))
    assert read["ties_terms"]["ref_accuracy"] == 0.8 and read["overall"] is None


small = st.integers(-4, 4)
best_of_four = st.tuples(st.lists(small, min_size=1, max_size=1), st.lists(small, min_size=3, max_size=3))
ref = st.tuples(st.lists(small, min_size=1, max_size=1), st.lists(small, min_size=1, max_size=4))
tied = st.tuples(st.lists(small, min_size=2, max_size=4), st.lists(small, min_size=1, max_size=4))


@given(
    st.lists(best_of_four, min_size=1, max_size=4),
    st.lists(st.tuples(ref, tied), min_size=1, max_size=4),
    st.integers(-2, 3),
    st.integers(-50, 50),
    st.randoms(),
)
def test_neither_the_scale_of_rewards_nor_the_order_of_prompts_matters(focus, couples, power, shift, random) -> None:
    """Powers of two and small integers, so that equal rewards stay equal; the tanh term sees ratios of differences."""
    items, rewards = given_rewards({f"f{number}": row for number, row in enumerate(focus)}, "Focus")
    rows = {
        f"{kind}:{n}": row
        for n, couple in enumerate(couples)
        for kind, row in zip(("ref", "tied"), couple, strict=True)
    }
    more, their = given_rewards(rows)
    items, rewards = items + more, rewards | their
    moved = {name: reward * 2.0**power + shift for name, reward in rewards.items()}
    before = evaluate_rewardbench2(items, rewards)
    after = evaluate_rewardbench2(random.sample(items, len(items)), moved)
    assert (before.pairs, before.accuracy, before.ties) == (after.pairs, after.accuracy, after.ties)
    for name in ("Focus", "Ties"):
        assert before.domains[name].score == pytest.approx(after.domains[name].score, abs=1e-12)
        assert before.domains[name].length_only_score == pytest.approx(after.domains[name].length_only_score, abs=1e-12)


# --- items ---


def test_completions_are_named_by_side_and_place() -> None:
    one = item("q", "Focus")
    assert [text.id for text in one.conversations()] == ["q:chosen:0", "q:rejected:0", "q:rejected:1", "q:rejected:2"]
    assert one.conversations()[2].messages == (*PROMPT, Message("assistant", "xxx"))


def test_scored_pair_is_the_hardest_comparison() -> None:
    (one,), rewards = given_rewards({"tied:0": ([4, 2, 3], [1, 5])})
    scored = scored_pair(one, rewards)
    assert (scored.chosen_reward, scored.rejected_reward) == (2, 5)
    assert (scored.pair.id, scored.pair.chosen, scored.pair.rejected) == ("tied:0", "xx", "xxxxx")
    assert scored.to_json()["subset"] == "Ties" and scored.to_json()["rejected_reward"] == 5


@pytest.mark.parametrize(
    ("name", "subset", "correct", "wrong", "message"),
    [
        ("a", "Maths", 1, 3, "unknown subset 'Maths'; expected one of Factuality, Precise IF, Math"),
        ("a", "Math", 2, 3, '"chosen" has 2 completions; expected one'),
        ("a", "Math", 0, 3, '"chosen" has 0 completions; expected one'),
        ("a", "Math", 1, 0, '"rejected" is empty'),
        ("a", "Ties", 1, 3, '"id" is \'a\'; expected "ref:N" or "tied:N"'),
        ("ref:0", "Ties", 2, 3, '"chosen" has 2 completions; expected one'),
        ("Ties/tied:0", "Ties", 1, 3, '"chosen" has 1 completions; expected two or more'),
    ],
)
def test_an_item_of_another_shape_is_refused(name, subset, correct, wrong, message) -> None:
    with pytest.raises(DataError) as error:
        item(name, subset, correct, wrong)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "problem"), [({"below:chosen:0": math.nan}, "1 not finite"), ({"z": 1.0}, "1 left over")]
)
def test_rewards_that_do_not_fit_are_refused(change, problem) -> None:
    items, rewards = given_rewards(MATH, "Math")
    with pytest.raises(DataError, match=problem):
        evaluate_rewardbench2(items, rewards | change)
    with pytest.raises(DataError, match=r"1 missing \(on top:rejected:2\)"):
        evaluate_rewardbench2(items, {name: x for name, x in rewards.items() if name != "on top:rejected:2"})
    with pytest.raises(DataError, match="no prompts to evaluate"):
        evaluate_rewardbench2([], {})
