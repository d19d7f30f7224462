"""The report on preference pairs: groups, calibration, attributes, and what it says on a terminal."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemo_hs2pref.data.records import Message, PreferencePair
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.calibration import calibrate, errors_if_calibrated
from nemo_hs2pref.evaluation.groups import by_length_difference, by_response_length
from nemo_hs2pref.evaluation.preferences import evaluate_pairs
from nemo_hs2pref.evaluation.statistics import bootstrap_interval


def pair(name, chosen=1, rejected=1, *, strength=None, turns=1, prompt=None, **optional):
    """A pair by the lengths of its sides; every pair has a prompt of its own unless it is named."""
    talk = [Message("user" if turn % 2 == 0 else "assistant", prompt or name) for turn in range(2 * turns - 1)]
    return PreferencePair(name, tuple(talk), "c" * chosen, "r" * rejected, strength, **optional)


def rewards_from(pairs, margins):
    """The rejected side has 0, so the margin is the reward of the chosen one."""
    return {
        f"{each.id}:{side}": margin if side == "chosen" else 0.0
        for each, margin in zip(pairs, margins, strict=True)
        for side in ("chosen", "rejected")
    }


def evaluate(pairs, margins):
    return evaluate_pairs(pairs, rewards_from(pairs, margins))


def counts(groups):
    return {name: (group.pairs, group.accuracy, group.length_only_accuracy) for name, group in groups.items()}


# Groups

MIXED = [
    pair("a", 20, 10, strength=1, subset="easy"),
    pair("b", 10, 20, strength=3, subset="hard", turns=2),
    pair("c", 100, 91, strength=3, subset="easy", turns=2),
    pair("d", 100, 90, subset="hard", turns=4),
    pair("e", 7, 7, turns=9),
]
MARGINS = [1.0, -1.0, 2.0, 0.0, 3.0]  # d is a tie, which is a loss


def test_groups_of_five_pairs_counted_by_hand():
    report = evaluate(MIXED, MARGINS)
    assert counts(report.by_strength) == {"1": (1, 1, 1), "3": (2, 0.5, 0.5)}
    assert counts(report.by_subset) == {"easy": (2, 1, 1), "hard": (2, 0, 0.5)}
    assert counts(report.by_turns) == {"1": (1, 1, 1), "2": (2, 0.5, 0.5), "4+": (2, 0.5, 0.5)}
    # of 100 characters up to 10 are similar
    assert counts(report.by_length_difference) == {
        "chosen longer": (1, 1, 1),
        "similar": (3, 2 / 3, 2 / 3),
        "chosen shorter": (1, 0, 0),
    }
    # the longer ones have 7, 20, 20, 100, 100 characters: quarters end at 20, 20 and 100
    assert counts(report.by_response_length) == {"0-20": (3, 2 / 3, 1 / 3), "21-100": (2, 0.5, 1)}


def test_gain_over_length_is_paired():
    """The model wins where length does but for one pair: the difference is far surer than either accuracy."""
    pairs = [pair(str(n), 2, 1) if n % 2 else pair(str(n), 1, 2) for n in range(100)]
    report = evaluate(pairs, [1.0 if n % 2 or n == 0 else -1.0 for n in range(100)])
    assert report.gain_over_length == pytest.approx(0.01)
    low, high = report.gain_over_length_interval
    assert low == 0 and high == pytest.approx(0.03)
    assert report.interval[1] - report.interval[0] > 0.15


def test_gain_is_over_the_better_rule_of_length_to_which_equal_lengths_count_half():
    pairs = [pair("a", 1, 2), pair("b", 1, 2, subset="s"), pair("c", 2, 1, subset="s"), pair("d", 3, 3)]
    report = evaluate(pairs, [1.0, -1.0, 1.0, 1.0])
    assert (report.length_only_accuracy, report.shorter_only_accuracy) == (1 / 4, 2 / 4)
    assert report.gain_over_length == 3 / 4 - (2 + 0.5) / 4
    assert report.by_subset["s"].gain_over_length == 0, "the rule is that of all pairs"


def test_group_of_all_pairs_has_the_interval_of_all_pairs():
    pairs = [pair(str(n), 2, 1, strength=2) for n in range(60)]
    report = evaluate(pairs, [float(n % 3) for n in range(60)])
    assert report.by_strength["2"].interval == report.interval == bootstrap_interval([n % 3 > 0 for n in range(60)])
    assert report.by_strength["2"].prompts == report.prompts == 60


def test_interval_is_wider_where_the_pairs_of_a_prompt_agree():
    margins = np.where(np.random.default_rng(0).random(50) < 0.6, 1.0, -1.0).repeat(4)
    apart = evaluate([pair(str(n)) for n in range(200)], margins)
    together = evaluate([pair(str(n), prompt=f"prompt {n // 4}") for n in range(200)], margins)
    assert (together.accuracy, together.prompts, apart.prompts) == (apart.accuracy, 50, 200)
    assert np.diff(together.interval) / np.diff(apart.interval) == pytest.approx(2, rel=0.1)


LENGTHS = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=40)


@given(LENGTHS)
def test_every_pair_is_in_one_group_of_each_partition_by_length(lengths):
    pairs = [pair(str(number), *both) for number, both in enumerate(lengths)]
    for partition in (by_length_difference, by_response_length):
        memberships = np.sum(list(partition(pairs).values()), axis=0)
        assert (memberships == 1).all()


@settings(max_examples=20)  # a bootstrap for each example
@given(LENGTHS)
def test_swapping_all_sides_turns_the_baseline_of_length_around(lengths):
    pairs = [pair(str(number), *both) for number, both in enumerate(lengths)]
    swapped = [replace(each, chosen=each.rejected, rejected=each.chosen) for each in pairs]
    margins = [1.0] * len(pairs)
    one, other = evaluate(pairs, margins), evaluate(swapped, margins)
    assert one.length_only_accuracy + other.length_only_accuracy + one.equal_lengths / len(pairs) == pytest.approx(1)


# Calibration


def test_calibration_of_four_margins_by_hand():
    """P(favoured) = 0.78 twice, once right; 0.62, right; a tie: bins from 0.75, 0.6 and 0.5."""
    odds = 0.78 / 0.22
    calibration = calibrate(np.log([odds, 1 / odds, 0.62 / 0.38, 1.0]))
    assert [(each.pairs, each.accuracy) for each in calibration.bins] == [(1, 0.5), (1, 1.0), (2, 0.5)]
    assert [each.low for each in calibration.bins] == pytest.approx([0.5, 0.6, 0.75])
    assert [each.confidence for each in calibration.bins] == pytest.approx([0.5, 0.62, 0.78])
    assert calibration.expected_calibration_error == pytest.approx((0 + 0.38 + 2 * 0.28) / 4)
    assert calibration.brier_score == pytest.approx((0.22**2 + 0.78**2 + 0.38**2 + 0.5**2) / 4)
    assert calibration.log_loss == pytest.approx(-math.log(0.78 * 0.22 * 0.62 * 0.5) / 4)


def test_constant_reward_knows_nothing_and_says_so():
    calibration = calibrate(np.zeros(7))
    assert calibration.expected_calibration_error == 0
    assert (calibration.brier_score, calibration.log_loss) == (0.25, pytest.approx(math.log(2)))


def test_huge_margins_are_finite():
    calibration = calibrate(np.array([1e4, -1e4, 3e38]))
    assert calibration.log_loss == pytest.approx(1e4 / 3)
    assert calibration.brier_score == pytest.approx(1 / 3)
    assert [(each.high, each.pairs, each.confidence) for each in calibration.bins] == [(1, 3, 1)]


def test_pairs_drawn_from_bradley_terry_are_calibrated_and_a_factor_of_two_is_not():
    generator = np.random.default_rng(4)
    gaps = generator.normal(0, 1.5, size=20_000)
    margins = np.where(generator.random(20_000) < 1 / (1 + np.exp(-gaps)), gaps, -gaps)
    calibration = calibrate(margins)
    for each in calibration.bins:
        error = math.sqrt(each.accuracy * (1 - each.accuracy) / each.pairs)
        assert abs(each.accuracy - each.confidence) < 4 * error
    assert len(calibration.bins) == 10
    assert calibration.expected_calibration_error < 0.015 < calibrate(2 * margins).expected_calibration_error
    entropy = np.mean(np.logaddexp(0, -gaps) / (1 + np.exp(-gaps)) + np.logaddexp(0, gaps) / (1 + np.exp(gaps)))
    assert calibration.log_loss == pytest.approx(entropy, abs=0.01)


def test_chance_alone_gives_a_calibrated_model_an_error_which_shrinks_with_the_pairs():
    """One bin: the error is |mean of n coins - 0.75|, on average sqrt(2 / pi) of its deviation."""
    for number in (100, 2500):
        errors = errors_if_calibrated(np.full(number, np.log(3)))
        expected = math.sqrt(2 / math.pi * 0.75 * 0.25 / number)
        assert errors.mean() == pytest.approx(expected, rel=0.1)
    assert not errors_if_calibrated(np.zeros(9)).any(), "a tie is half right, as it claims"


# Strength


def test_margin_that_grows_with_strength_correlates_with_it():
    pairs = [pair(str(n), strength=n % 3 + 1) for n in range(9)]
    report = evaluate(pairs, [[-10.0, 1.0, 100.0][n % 3] for n in range(9)])
    assert report.margin_strength_spearman == pytest.approx(1)
    assert report.margin_strength_pearson == pytest.approx(np.corrcoef([1, 2, 3], [-10, 1, 100])[0, 1])


def test_pairs_without_strength_have_no_part_in_its_correlation():
    graded = [pair("a", strength=1), pair("b", strength=3)]
    report = evaluate([*graded, pair("c")], [1.0, 2.0, -50.0])
    assert report.margin_strength_pearson == report.margin_strength_spearman == pytest.approx(1)
    assert evaluate([pair("c")], [1.0]).margin_strength_pearson is None


# Attributes

RATED = [
    pair("a", chosen_attributes={"helpfulness": 4, "verbosity": 1}, rejected_attributes={"helpfulness": 2}),
    pair("tie", strength=0, chosen_attributes={"helpfulness": 1}, rejected_attributes={"helpfulness": 0}),
    pair("unrated"),
]
PREDICTED = {
    "a:chosen": {"helpfulness": 3.0, "verbosity": 1.5, "quality": 9.0},
    "a:rejected": {"helpfulness": 2.0},
    "tie:chosen": {"helpfulness": 1.5},
    "tie:rejected": {"helpfulness": -1.0},
    "unrated:chosen": {"helpfulness": 100.0},
}


def test_attributes_are_compared_on_every_rated_response():
    report = evaluate_pairs(RATED, rewards_from(RATED, [1.0, 1.0, 1.0]), PREDICTED)
    helpfulness = report.attributes["helpfulness"]
    assert (helpfulness.responses, helpfulness.mse) == (4, (1 + 0 + 0.25 + 1) / 4)
    assert helpfulness.pearson == pytest.approx(np.corrcoef([4, 2, 1, 0], [3, 2, 1.5, -1])[0, 1])
    verbosity = report.attributes["verbosity"]
    assert (verbosity.responses, verbosity.mse, verbosity.pearson) == (1, 0.25, None)
    assert list(report.attributes) == ["helpfulness", "verbosity"]  # quality is predicted, but not rated
    assert evaluate_pairs(RATED, rewards_from(RATED, [1.0, 1.0, 1.0])).attributes == {}


@pytest.mark.parametrize("predictions", [{}, {"helpfulness": math.nan}])
def test_attributes_that_are_predicted_in_part_are_refused(predictions):
    with pytest.raises(DataError, match='"helpfulness" has a finite prediction for 3 of the 4 responses rated on it'):
        evaluate_pairs(RATED, rewards_from(RATED, [1.0] * 3), PREDICTED | {"tie:chosen": predictions})


# JSON


@pytest.mark.parametrize(
    ("pairs", "margins"),
    [
        ([pair("one")], [1.0]),
        ([pair("one")], [0.0]),
        (MIXED, [0.0] * 5),  # constant rewards, all ties
        (MIXED, [1e4, -1e4, 1e38, 1e-300, 0.0]),
        ([replace(each, strength=None, subset=None) for each in MIXED], MARGINS),
        ([pair(name, prompt="the same") for name in "abc"], [1.0, -1.0, 1.0]),
    ],
    ids=["one pair", "one tie", "all ties", "huge", "strength nowhere", "one prompt"],
)
def test_report_of_odd_pairs_is_plain_json_and_a_table(pairs, margins):
    report = evaluate(pairs, margins)
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["pairs"] == len(pairs)
    assert "nan" not in report.table()


def test_keys_that_others_read_stay():
    old = {
        "pairs", "left_out", "accuracy", "interval", "ties", "length_only_accuracy", "length_only_interval",
        "equal_lengths", "by_strength", "mean_margin", "reward_length_correlation", "intervals",
    }  # fmt: skip
    summary = evaluate(MIXED, MARGINS).to_json()
    assert old <= summary.keys()
    assert {"confidence": 0.95, "resamples": 10_000, "seed": 0}.items() <= summary["intervals"].items()


# Table


def test_table_shows_no_partition_that_is_one_group_of_all_pairs():
    pairs = [pair(str(n), 2, 1, strength=1 + n % 2, subset="all") for n in range(60)]
    table = evaluate(pairs, [1.0] * 60).table()
    assert "by strength                   pairs  accuracy" in table
    assert "\n  2                              30   100.0%  [100.0%, 100.0%]  100.0%  [100.0%, 100.0%]" in table
    assert not any(hidden in table for hidden in ("by subset", "by turns", "by length", "by response", "fewer than"))


def test_table_shows_a_single_group_of_some_of_the_pairs():
    pairs = [pair(str(n), 2, 1, strength=1 if n < 40 else None) for n in range(60)]
    assert "\n  1                              40   100.0%" in evaluate(pairs, [1.0] * 60).table()


def test_table_warns_where_length_alone_may_be_as_good():
    pairs = [pair(str(n), 2, 1) if n < 30 else pair(str(n), 1, 2) for n in range(60)]
    like_length = evaluate(pairs, [1.0 if n < 31 else -1.0 for n in range(60)]).table()
    assert "warning: not shown to be better than taking the longer response: +1.7 points [+0.0, +5.0]" in like_length
    assert "not shown" not in evaluate(pairs, [1.0] * 60).table()
    shorter = [pair(str(n), 1, 2) for n in range(60)]
    assert "warning: not shown to be better than taking the shorter response" in evaluate(shorter, [1.0] * 60).table()


def test_table_counts_what_is_left_out_and_what_ties():
    pairs = [*MIXED, pair("none", strength=0), pair("neither", strength=0)]
    lines = evaluate(pairs, [*MARGINS, 1.0, 1.0]).table().splitlines()
    assert lines[1:3] == ["left out (no preference)          2", "ties, counted as wrong            1"]
    without = evaluate(MIXED[:2], [1.0, 1.0]).table()
    assert "left out" not in without and "ties" not in without


def test_table_names_groups_of_few_prompts():
    repeated = [pair(str(n), strength=1, prompt=f"prompt {n // 2}") for n in range(58)]
    pairs = [*repeated, *(pair(str(n), strength=3) for n in range(58, 88))]
    table = evaluate(pairs, [1.0] * 88).table()
    assert "pairs                            88  of 59 prompts" in table
    assert "warning: fewer than 30 prompts show little, and intervals are too narrow: by strength 1\n" in table + "\n"
    assert (
        "warning: fewer than 30 prompts show little, and intervals are too narrow\n"
        in evaluate(MIXED, MARGINS).table() + "\n"
    )
