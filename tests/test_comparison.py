"""Two models on the same pairs."""

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.data.records import Message, PreferencePair
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.comparison import compare, mcnemar
from nemo_hs2pref.evaluation.rewardbench.difference import WEIGHTS
from nemo_hs2pref.evaluation.rewardbench.sections import SECTIONS
from nemo_hs2pref.evaluation.statistics import bootstrap_interval


def pairs_of(number, prompts=None):
    names = range(number) if prompts is None else prompts
    return [PreferencePair(str(n), (Message("user", f"prompt {name}"),), "yes", "no") for n, name in enumerate(names)]


def rewards_where(right):
    """1 for the side that the model prefers, 0 for the other."""
    sides = [(f"{n}:chosen", f"{n}:rejected", float(wins)) for n, wins in enumerate(right)]
    return {name: reward for chosen, rejected, wins in sides for name, reward in ((chosen, wins), (rejected, 1 - wins))}


def test_comparison_of_ten_pairs_counted_by_hand():
    right = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 1], dtype=bool)
    baseline = np.array([1, 0, 0, 0, 0, 0, 1, 0, 0, 1], dtype=bool)
    comparison = compare(pairs_of(10), rewards_where(right), rewards_where(baseline))
    assert (comparison.pairs, comparison.only_model, comparison.only_baseline) == (10, 5, 1)
    assert (comparison.accuracy, comparison.baseline_accuracy, comparison.difference) == (0.7, 0.3, 0.4)
    assert comparison.interval == bootstrap_interval(right.astype(float) - baseline)
    assert comparison.p_value == 2 * (1 + 6) / 2**6


def test_tie_is_a_loss_of_the_model_that_ties():
    comparison = compare(pairs_of(1), {"0:chosen": 1.0, "0:rejected": 1.0}, rewards_where([True]))
    assert (comparison.accuracy, comparison.only_baseline) == (0, 1)


def test_models_that_agree_on_every_pair_do_not_differ():
    same = rewards_where([True, False, True])
    comparison = compare(pairs_of(3), same, same)
    assert (comparison.difference, comparison.interval, comparison.p_value) == (0, (0, 0), 1)
    assert "is not shown to differ from" in comparison.table()


def test_pairs_of_one_prompt_are_resampled_together():
    gains = np.random.default_rng(1).permutation(np.repeat([True, False], [30, 20])).repeat(4)
    apart = compare(pairs_of(200), rewards_where(gains), rewards_where(~gains))
    together = compare(pairs_of(200, np.arange(200) // 4), rewards_where(gains), rewards_where(~gains))
    assert (together.prompts, together.difference) == (50, apart.difference)
    assert np.diff(together.interval) / np.diff(apart.interval) == pytest.approx(2, rel=0.1)


def test_paired_interval_is_narrower_than_two_accuracies_would_allow():
    right = np.arange(400) % 2 == 0
    better = right | (np.arange(400) % 20 == 1)
    low, high = compare(pairs_of(400), rewards_where(better), rewards_where(right)).interval
    assert 0 < low < 0.05 < high < 0.08  # an unpaired one is +- 0.07 around 0.05


def test_scores_of_other_pairs_are_refused_and_it_is_said_whose():
    pairs, fit = pairs_of(2), rewards_where([True, True])
    with pytest.raises(DataError, match=r"baseline: scores do not fit the 2 examples: 2 missing \(1:chosen"):
        compare(pairs, fit, rewards_where([True]))
    with pytest.raises(DataError, match=r"model: scores do not fit .* left over"):
        compare(pairs, rewards_where([True] * 3), fit)


# RewardBench


def rewardbench_pairs(times):
    """`times` pairs of every subset."""
    names = [subset for subset in WEIGHTS for _ in range(times)]
    return [replace(pair, subset=name) for pair, name in zip(pairs_of(len(names)), names, strict=True)]


def test_models_on_rewardbench_are_compared_by_overall_and_not_by_the_pairs():
    """Right in all of Chat's 5 subsets and none of Reasoning's 7, against the reverse: Overall is the same."""
    pairs = rewardbench_pairs(40)
    chat, reasoning = (rewards_where([pair.subset in SECTIONS[of] for pair in pairs]) for of in ("Chat", "Reasoning"))
    comparison = compare(pairs, chat, reasoning)
    assert comparison.difference == pytest.approx(-2 / 23) and comparison.interval[1] < 0
    assert comparison.overall.score == pytest.approx(0.25) and comparison.overall.difference == pytest.approx(0)
    assert "is not shown to differ from the baseline: Overall 25.0% against 25.0%" in comparison.table()


def test_interval_of_overall_is_that_of_separate_samples():
    """One subset alone is unsure, math-prm, a half of a quarter: its interval is an eighth of that of its pairs."""
    pairs = rewardbench_pairs(100)
    gains = [pair.subset == "math-prm" and number % 2 == 0 for number, pair in enumerate(pairs)]
    found = compare(pairs, rewards_where(gains), rewards_where([False] * len(pairs))).overall
    assert found.difference == pytest.approx(0.5 / 8)
    low, high = bootstrap_interval(np.arange(100) % 2)
    assert found.interval == pytest.approx((low / 8, high / 8), abs=0.002)


def test_pairs_that_lack_a_subset_have_no_overall():
    pairs = rewardbench_pairs(2)[:-2]
    found = compare(pairs, rewards_where([True] * len(pairs)), rewards_where([False] * len(pairs)))
    assert found.overall is None and "overall" not in found.to_json()


# McNemar's test


def test_p_value_is_the_tail_of_a_fair_coin():
    for only_one, only_other in [(0, 0), (1, 0), (5, 1), (7, 7), (30, 12), (0, 60)]:
        n, least = only_one + only_other, min(only_one, only_other)
        tail = sum(Fraction(math.comb(n, i), 2**n) for i in range(least + 1))
        assert mcnemar(only_one, only_other) == float(min(1, 2 * tail))


@given(st.integers(0, 300), st.integers(0, 300))
def test_p_value_is_a_share_and_does_not_know_which_model_is_which(only_one, only_other):
    assert 0 < mcnemar(only_one, only_other) == mcnemar(only_other, only_one) <= 1
    assert (mcnemar(only_one, only_other) == 1) == (abs(only_one - only_other) <= 1)


def test_p_value_of_thousands_of_pairs_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with the extra nemo")
    for only_one, only_other in [(3, 9), (1200, 1100), (9000, 9500), (4000, 3000)]:
        expected = stats.binomtest(only_one, only_one + only_other).pvalue
        assert mcnemar(only_one, only_other) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(5000, 0) == 0  # 2^-4999


# What is said


def test_sentence_says_which_is_better_and_how_sure_that_is():
    half = np.arange(100) % 2 == 0
    better = compare(pairs_of(100), rewards_where(half | (np.arange(100) < 40)), rewards_where(half))
    assert better.table().startswith(
        "The model is better than the baseline: 70.0% against 50.0% of 100 pairs, +20.0 poi"
    )
    assert "20 pairs only the model gets right, 0 only the baseline (exact McNemar test: p < 0.001)." in better.table()
    worse = compare(pairs_of(100), rewards_where(half), rewards_where(half | (np.arange(100) < 40)))
    assert "is worse than" in worse.table() and "-20.0 points" in worse.table()
    equal = compare(pairs_of(100), rewards_where(half), rewards_where(~half))
    assert "is not shown to differ from" in equal.table() and "p = 1.000" in equal.table()


def test_sentence_says_what_the_test_takes_for_granted_where_prompts_repeat():
    repeated = compare(pairs_of(4, [0, 0, 1, 1]), rewards_where([True] * 4), rewards_where([False] * 4))
    told, warning = repeated.table().splitlines()
    assert told.endswith("p = 0.125, if the pairs of 2 prompts were independent).")
    assert warning == "warning: intervals are too narrow with fewer than 30 prompts: 2 here"


def test_comparison_is_plain_json():
    summary = compare(pairs_of(1), rewards_where([True]), rewards_where([False])).to_json()
    assert json.loads(json.dumps(summary, allow_nan=False))["p_value"] == 1
