"""Accuracy on preference pairs: the numbers, their intervals, and scores that do not fit."""

import hashlib
import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_in import StandIn

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.records import Conversation, Message, PreferencePair, write_jsonl
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.preferences import evaluate_pairs
from nemo_hs2pref.evaluation.scores import Score, ScoresFile, TooLong, read_scores, rewards, write_scores
from nemo_hs2pref.evaluation.statistics import (
    bootstrap_interval,
    bootstrap_interval_over_seeds,
    bootstrap_intervals,
    pearson,
    spearman,
    too_narrow,
)

PROMPT = (Message("user", "Why?"),)
# chosen reward, rejected reward, chosen length, rejected length, strength
CASES = [
    (2.0, 1.0, 5, 3, 1),
    (0.0, 1.0, 5, 3, 1),
    (1.0, 1.0, 3, 5, 3),  # a tie, which is a loss
    (4.0, 0.5, 4, 4, None),  # equal length, which is a loss of the baseline
]
PAIRS = [
    PreferencePair(f"p{number}", PROMPT, "c" * chosen, "r" * rejected, strength)
    for number, (_, _, chosen, rejected, strength) in enumerate(CASES)
]
SCORES = {f"p{number}:chosen": case[0] for number, case in enumerate(CASES)}
SCORES |= {f"p{number}:rejected": case[1] for number, case in enumerate(CASES)}


# The report


def test_report_of_four_pairs_counted_by_hand():
    report = evaluate_pairs(PAIRS, SCORES)
    assert (report.pairs, report.accuracy, report.ties) == (4, 2 / 4, 1)
    assert (report.length_only_accuracy, report.equal_lengths) == (2 / 4, 1)
    assert {name: (group.pairs, group.accuracy) for name, group in report.by_strength.items()} == {
        "1": (2, 0.5),
        "3": (1, 0.0),
    }
    assert report.mean_margin == (1.0 - 1.0 + 0.0 + 3.5) / 4
    rewards = [2.0, 1.0, 0.0, 1.0, 1.0, 1.0, 4.0, 0.5]
    lengths = [5, 3, 5, 3, 3, 5, 4, 4]
    assert report.reward_length_correlation == pytest.approx(np.corrcoef(rewards, lengths)[0, 1])


def test_length_alone_reaches_what_the_data_says():
    longer = [PreferencePair(str(n), PROMPT, "long", "no", 1) for n in range(3)]
    shorter = [PreferencePair("s", PROMPT, "no", "long", 1)]
    scores = {side.id: 0.0 for pair in longer + shorter for side in pair.conversations()}
    report = evaluate_pairs(longer + shorter, scores)
    assert report.length_only_accuracy == 0.75
    assert report.length_only_interval == bootstrap_interval([1, 1, 1, 0])
    assert (report.accuracy, report.interval, report.ties) == (0.0, (0.0, 0.0), 4)
    assert report.reward_length_correlation is None  # all rewards are equal


@settings(max_examples=20)  # a bootstrap for each example
@given(st.floats(-100, 100), st.floats(0.01, 100))
def test_accuracy_does_not_depend_on_scale_and_offset_of_the_rewards(offset, scale):
    moved = {identifier: scale * reward + offset for identifier, reward in SCORES.items()}
    assert evaluate_pairs(PAIRS, moved).accuracy == evaluate_pairs(PAIRS, SCORES).accuracy


def test_no_pairs_are_refused():
    with pytest.raises(DataError, match="no pairs to evaluate"):
        evaluate_pairs([], {})


# Scores that do not fit


@pytest.mark.parametrize(
    ("change", "remove", "message"),
    [
        ({}, ["p1:chosen"], r"do not fit the 4 examples: 1 missing \(p1:chosen\); score"),
        ({}, list(SCORES), r"8 missing \(p0:chosen, p0:rejected, p1:chosen, \.\.\.\)"),
        ({"p9:chosen": 1.0}, [], r"1 left over \(p9:chosen\)"),
        ({"p0:chosen": math.nan, "p3:rejected": -math.inf}, [], r"2 not finite \(p0:chosen, p3:rejected\)"),
        ({"p9:chosen": math.nan}, ["p0:chosen"], "1 missing .*; 1 left over .*; 1 not finite"),
    ],
)
def test_scores_that_do_not_fit_are_refused_with_counts_and_ids(change, remove, message):
    scores = {key: value for key, value in (SCORES | change).items() if key not in remove}
    with pytest.raises(DataError, match=message):
        evaluate_pairs(PAIRS, scores)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a"}', r'scores\.jsonl:2: no "reward"; the keys are id'),
        ('{"id": "a", "reward": "3"}', "\"reward\" is '3'; expected a number"),
        ('{"id": "a", "reward": 1' + 400 * "0" + "}", '"reward" is an integer beyond every float'),
        ('{"id": "a", "reward": 3, "attributes": {"x": "3"}}', "\"x\" is '3'; expected a number"),
        ('{"id": "a", "reward": 3, "standardized": 1}', r'"standardized" is 1; expected true or false'),
        ('{"id": "a", "reward": 3, "attributes": [3]}', r'"attributes" is \[3\]; expected an object'),
    ],
)
def test_faulty_score_is_named_by_line(tmp_path, line, message):
    path = tmp_path / "scores.jsonl"
    path.write_text('{"id": "b", "reward": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=message):
        read_scores(path)


def conversations(*names):
    return [Conversation(name, (*PROMPT, Message("assistant", "x"))) for name in names]


def test_scores_file_gives_the_scores_in_the_order_asked_for(tmp_path):
    scores = [Score("a", 1.0, {"helpfulness": 2.0}), Score("b", -3.5)]
    write_scores(tmp_path / "scores.jsonl", scores)
    file = ScoresFile(tmp_path / "scores.jsonl")
    assert file.score(conversations("b", "a")) == scores[::-1]
    assert file.score(conversations("a", "b")) == scores
    assert rewards(scores) == {"a": 1.0, "b": -3.5}
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert lines == [{"id": "a", "reward": 1.0, "attributes": {"helpfulness": 2.0}}, {"id": "b", "reward": -3.5}]


def test_scores_of_another_file_are_refused_with_everything_at_once(tmp_path):
    path = tmp_path / "scores.jsonl"
    rows = ['"a", "reward": 1', '"a", "reward": 1', '"b", "reward": NaN', '"c", "reward": 1', '7, "reward": 1']
    rows.append('"d", "reward": 1, "attributes": {"x": Infinity}')
    path.write_text("".join(f'{{"id": {row}}}\n' for row in rows))
    with pytest.raises(DataError) as caught:
        ScoresFile(path).score(conversations("a", "b", "d", "x1", "x2", "x3", "x4"))
    assert str(caught.value) == (
        f"{path}: scores do not fit the 7 conversations: 4 missing (x1, x2, x3, ...); 2 left over (7, c); "
        "1 more than once (a); 2 not finite (b, d); score exactly these rows again"
    )


def test_scores_that_are_not_finite_leave_the_file_as_it_was(tmp_path):
    path = tmp_path / "scores.jsonl"
    write_scores(path, [Score("old", 1.0)])
    broken = [Score("a", math.nan), Score("b", 1.0), Score("c", 1.0, {"x": math.inf})]
    with pytest.raises(DataError, match=r"scores\.jsonl: 2 not finite \(a, c\) of 3 scores; the model's weights"):
        write_scores(path, broken)
    assert rewards(read_scores(path)) == {"old": 1.0}
    assert list(tmp_path.iterdir()) == [path]


# Statistics


def test_interval_is_the_same_for_the_same_seed_and_close_for_another():
    values = [1.0] * 70 + [0.0] * 30
    assert bootstrap_interval(values) == bootstrap_interval(values)
    np.testing.assert_allclose(bootstrap_interval(values), bootstrap_interval(values, seed=1), atol=0.011)


def test_interval_of_a_share_agrees_with_the_normal_approximation():
    values = np.repeat([1.0, 0.0], [700, 300])
    half_width = 1.96 * math.sqrt(0.7 * 0.3 / 1000)
    # 0.003: three steps of 1/1000, the grid on which resampled shares lie
    np.testing.assert_allclose(bootstrap_interval(values), (0.7 - half_width, 0.7 + half_width), atol=0.003)


def test_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(5)
    samples = generator.normal(3.0, 2.0, size=(300, 100))
    intervals = [bootstrap_interval(sample, resamples=500, seed=index) for index, sample in enumerate(samples)]
    covered = np.mean([low <= 3.0 <= high for low, high in intervals])
    assert 0.91 < covered < 0.98  # 0.95 with a standard error of 0.013


def test_many_values_do_not_change_the_method(monkeypatch):
    values = np.arange(50.0)
    at_once = bootstrap_interval(values, resamples=1000)
    monkeypatch.setattr("nemo_hs2pref.evaluation.statistics.DRAWS_AT_ONCE", 50 * 7)
    np.testing.assert_allclose(bootstrap_interval(values, resamples=1000), at_once, rtol=1e-12)


def column(values, clusters=None):
    """The interval of one mean over all values, by the function for several."""
    values = np.asarray(values, dtype=float)
    clusters = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    ((interval,),) = bootstrap_intervals(values[:, None], np.ones((len(values), 1), dtype=bool), clusters)
    return interval


def test_clusters_of_one_give_the_interval_without_clusters_to_the_last_bit(monkeypatch):
    wins = np.random.default_rng(7).random(321) < 0.7
    assert column(wins) == bootstrap_interval(wins)
    monkeypatch.setattr("nemo_hs2pref.evaluation.statistics.DRAWS_AT_ONCE", 321 * 3)
    assert column(wins) == bootstrap_interval(wins)


def test_pairs_that_agree_within_a_prompt_count_as_one_observation():
    """Five copies of each of 100 observations know as much as 100, and not as 500."""
    wins = np.random.default_rng(8).random(100) < 0.6
    copies, prompts = np.repeat(wins, 5), np.repeat(np.arange(100), 5)
    assert column(copies, prompts) == pytest.approx(bootstrap_interval(wins))
    width, too_narrow = np.diff(column(copies, prompts)), np.diff(bootstrap_interval(copies))
    assert width / too_narrow == pytest.approx(5**0.5, rel=0.1)


def test_clusters_of_different_sizes_weigh_by_their_size(monkeypatch):
    """Resamples of the clusters {1, 1, 1} and {0}: both, with 3 of 4 right, or one of them twice."""
    assert column([1, 1, 1, 0], [0, 0, 0, 1]) == (0, 1)
    monkeypatch.setattr("nemo_hs2pref.evaluation.statistics.CONFIDENCE", 0.4)
    assert column([1, 1, 1, 0], [0, 0, 0, 1]) == (0.75, 0.75)  # a quarter of the resamples lies below, a quarter above


def test_clusters_that_do_not_depend_change_the_interval_little():
    wins = np.random.default_rng(9).random(600) < 0.6
    np.testing.assert_allclose(column(wins, np.arange(600) // 2), bootstrap_interval(wins), atol=0.012)


def test_interval_of_a_part_is_close_to_that_of_the_part_alone():
    generator = np.random.default_rng(10)
    wins, part = generator.random(2000) < 0.6, generator.random(2000) < 0.2
    (((low, high),),) = bootstrap_intervals(wins[:, None].astype(float), part[:, None], np.arange(2000))
    np.testing.assert_allclose((low, high), bootstrap_interval(wins[part]), atol=0.006)


def test_resamples_without_any_of_a_rare_group_are_left_out():
    values, group = np.ones((50, 1)), np.arange(50)[:, None] == 3
    assert bootstrap_intervals(values, group, np.arange(50)) == [[(1, 1)]]


def test_several_values_and_groups_do_not_change_each_other():
    generator = np.random.default_rng(12)
    values, groups = generator.random((90, 2)), np.stack([np.ones(90, bool), np.arange(90) < 40], axis=1)
    clusters = np.arange(90) // 3
    together = bootstrap_intervals(values, groups, clusters)
    for group in range(2):
        for value in range(2):
            alone = bootstrap_intervals(values[:, [value]], groups[:, [group]], clusters)
            assert together[group][value] == pytest.approx(alone[0][0])


def test_one_cluster_alone_leaves_only_its_observations_to_be_resampled():
    assert column([1, 1, 1, 0], [0, 0, 0, 0]) == bootstrap_interval([1, 1, 1, 0])


def test_many_small_groups_take_no_room_for_all_pairs_in_each():
    """Every observation by every group in floats would be 320 MB."""
    groups = np.arange(20_000)[:, None] % 500 == np.arange(500)
    tracemalloc.start()
    bootstrap_intervals(np.ones((20_000, 3)), groups, np.arange(20_000), resamples=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


def test_pairs_of_a_prompt_are_drawn_together_over_seeds_too():
    """Five copies of each of 100 pairs know as much as 100, with every seed; one prompt leaves its pairs to draw."""
    wins = np.random.default_rng(8).random((3, 100)) < 0.6
    copies, prompts = np.repeat(wins, 5, axis=1), np.repeat(np.arange(100), 5)
    alone = bootstrap_interval_over_seeds(wins, np.arange(100))
    assert bootstrap_interval_over_seeds(copies, prompts) == pytest.approx(alone)
    assert bootstrap_interval_over_seeds(wins, np.zeros(100, dtype=np.int64)) == alone
    assert bootstrap_interval_over_seeds([[1, 1, 1, 0]], np.array([0, 0, 0, 1])) == (0, 1)


def test_interval_over_one_seed_or_over_seeds_that_agree_is_that_of_the_pairs():
    wins = np.arange(100) < 60
    for seeds in (1, 3):
        interval = bootstrap_interval_over_seeds(np.tile(wins, (seeds, 1)), np.arange(100))
        assert interval == pytest.approx(bootstrap_interval(wins), abs=0.011)


def test_seeds_that_disagree_on_every_pair_give_all_that_they_give():
    assert bootstrap_interval_over_seeds([[1, 1, 1], [0, 0, 0]], np.arange(3)) == (0, 1)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("of_seed", [0.0, 0.03, 0.1], ids=["alike", "somewhat", "more than prompts"])
def test_interval_over_few_seeds_covers_the_truth_as_often_as_it_says(seeds, of_seed):
    """Seeds drawn with replacement, as they were once, cover 84 % with three seeds that differ by 0.1."""
    generator, covered = np.random.default_rng(7), []
    for _ in range(400):
        pairs, both = generator.normal(0, 0.3, size=(1, 60)), generator.normal(0, 0.4, size=(seeds, 60))
        values = generator.normal(0, of_seed, size=(seeds, 1)) + pairs + both
        low, high = bootstrap_interval_over_seeds(values, np.arange(60), resamples=600)
        covered.append(low <= 0 <= high)
    assert np.mean(covered) >= 0.93
    assert seeds == 2 or np.mean(covered) < 0.995  # and is not wide for nothing


def test_few_observations_are_warned_of():
    assert too_narrow({"": 30, "a": 31}) == []
    assert too_narrow({"": 29}) == ["warning: intervals are too narrow with fewer than 30 prompts: 29 here"]
    (told,) = too_narrow({"mt-bench-easy": 28, "hep": 164}, "pairs")
    assert told.endswith("fewer than 30 pairs: mt-bench-easy (28)")


def test_interval_over_seeds_has_the_variance_of_seeds_and_the_variance_of_pairs():
    """Of a sum of a seed's part and a pair's part the mean varies by var(seeds) / S + var(pairs) / P."""
    generator = np.random.default_rng(3)
    of_seed, of_pair = generator.normal(0, 0.2, size=(40, 1)), generator.normal(0, 0.5, size=(1, 200))
    low, high = bootstrap_interval_over_seeds(of_seed + of_pair, np.arange(200))
    deviation = (of_seed.var() / 40 + of_pair.var() / 200) ** 0.5
    assert (high - low) / 2 == pytest.approx(1.96 * deviation, rel=0.03)


def test_correlation_agrees_with_numpy_and_is_none_for_a_constant():
    x, y = [1.0, 2.0, 4.0], [2.0, 1.0, 7.0]
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert pearson(x, [3.0, 3.0, 3.0]) is None
    assert pearson(x, [0.1, 0.1, 0.1]) is None  # whose mean is rounded, and is not 0.1
    assert pearson([], []) is None and spearman([], []) is None


def test_correlation_stands_numbers_whose_squares_float_cannot_hold():
    x, y = np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 7.0])
    for scale in (1e200, 1e-200):
        assert pearson(scale * x, y) == pytest.approx(pearson(x, y))


def test_rank_correlation_by_hand_with_a_tie():
    """Ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4: deviations (-1.5, 0, 0, 1.5) and (-0.5, -1.5, 0.5, 1.5)."""
    expected = (0.75 + 2.25) / math.sqrt(4.5 * 5.0)
    assert spearman([0.1, 5, 5, 900], [2, 1, 3, 4]) == pytest.approx(expected)
    assert spearman([1, 1, 1], [1, 2, 3]) is None


def test_rank_correlation_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with the extra nemo")
    generator = np.random.default_rng(11)
    x, y = generator.integers(1, 4, size=200), generator.normal(size=200).round(1)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-12)


# Commands


@pytest.fixture
def pairs_file(tmp_path):
    write_jsonl(tmp_path / "pairs.jsonl", (pair.to_json() for pair in PAIRS))
    return tmp_path / "pairs.jsonl"


@pytest.fixture
def model(monkeypatch):
    """Stands in for the model: the rewards of SCORES, or 1 a character; remembers what it was asked."""
    model = StandIn(lambda row: SCORES.get(row.id, float(len(row.messages[-1].content))))
    monkeypatch.setattr("nemo_hs2pref.scoring.open_scorer", model.open)
    return model


def test_evaluate_writes_the_summary_of_a_scores_file(tmp_path, pairs_file, capsys):
    scores, out = tmp_path / "scores.jsonl", tmp_path / "out"
    write_jsonl(scores, ({"id": identifier, "reward": reward} for identifier, reward in SCORES.items()))
    arguments = ["--input", str(pairs_file), "--scores", str(scores), "--out", str(out)]
    assert main(["evaluate", "preferences", *arguments]) == 0
    summary = json.loads((out / "summary.json").read_text())
    report = evaluate_pairs(PAIRS, SCORES)
    assert summary["pairs"] == 4
    assert summary["accuracy"] == report.accuracy and summary["interval"] == list(report.interval)
    assert summary["length_only_accuracy"] == report.length_only_accuracy
    assert summary["length_only_interval"] == list(report.length_only_interval)
    by_strength = {name: (group["pairs"], group["accuracy"]) for name, group in summary["by_strength"].items()}
    assert by_strength == {"1": (2, 0.5), "3": (1, 0.0)}
    digest = hashlib.sha256(pairs_file.read_bytes()).hexdigest()
    assert summary["benchmark"] == "preferences" and summary["scores"] == str(scores) and summary["model"] is None
    assert summary["input"] == {"name": str(pairs_file), "sha256": digest, "rows": 4}
    table = capsys.readouterr().out
    assert "accuracy                      50.0%  [0.0%, 100.0%]" in table
    assert "  3                               1     0.0%  [0.0%, 0.0%]" in table


def test_evaluate_scores_with_a_model_and_keeps_the_scores(tmp_path, pairs_file, model):
    out = tmp_path / "out"
    arguments = ["--input", str(pairs_file), "--model", "ckpt", "--out", str(out)]
    assert main(["evaluate", "preferences", *arguments]) == 0
    assert rewards(read_scores(out / "scores.jsonl")) == SCORES
    assert json.loads((out / "summary.json").read_text())["accuracy"] == 0.5
    assert model.opened == ["ckpt"]
    (rows,) = model.asked
    assert rows[:2] == list(PAIRS[0].conversations())


def test_evaluate_leaves_nothing_behind_when_scores_do_not_fit(tmp_path, pairs_file, capsys):
    scores, out = tmp_path / "scores.jsonl", tmp_path / "out"
    scores.write_text('{"id": "p0:chosen", "reward": NaN}\n')
    arguments = ["--input", str(pairs_file), "--scores", str(scores), "--out", str(out)]
    assert main(["evaluate", "preferences", *arguments]) == 2
    error = capsys.readouterr().err
    assert "7 missing (p0:rejected" in error and "1 not finite (p0:chosen)" in error
    assert not out.exists()


def test_score_takes_rows_and_pairs(tmp_path, pairs_file, model):
    output = tmp_path / "scores.jsonl"
    assert main(["score", "--model", "ckpt", "--input", str(pairs_file), "--output", str(output)]) == 0
    assert rewards(read_scores(output)) == SCORES
    rows = tmp_path / "rows.jsonl.gz"
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
    write_jsonl(rows, [{"id": "x", "messages": messages}])
    assert main(["score", "--model", "ckpt", "--input", str(rows), "--output", str(output)]) == 0
    assert rewards(read_scores(output)) == {"x": 8.0}


def test_score_refuses_bad_rows_before_the_model_is_loaded(tmp_path, model, capsys):
    rows = tmp_path / "rows.jsonl"
    for content, message in (("", "has no rows"), ('{"id": "x"}\n', "with the keys id are neither")):
        rows.write_text(content)
        assert main(["score", "--model", "ckpt", "--input", str(rows), "--output", str(tmp_path / "s")]) == 2
        assert message in capsys.readouterr().err
    assert not model.opened


def test_score_skips_both_sides_of_a_pair_of_which_one_cannot_be_scored(
    tmp_path, pairs_file, model, monkeypatch, capsys
):
    whole, output = model.score, tmp_path / "scores.jsonl"

    def refuse_one(rows):
        if any(row.id == "p2:rejected" for row in rows):
            raise TooLong("too long", {"p2:rejected": "9 tokens, more than 8"})
        return whole(rows)

    monkeypatch.setattr(model, "score", refuse_one)
    command = ["score", "--model", "ckpt", "--input", str(pairs_file), "--output", str(output)]
    assert main(command) == 2
    assert main([*command, "--on-bad-row", "skip"]) == 0
    assert {score.id for score in read_scores(output)} == {side for side in SCORES if not side.startswith("p2:")}
    assert (
        "skipped rows (--on-bad-row skip): 1" in (said := capsys.readouterr().out)
        and "p2:rejected: 9 tokens, more than 8" in said
    )
    write_jsonl(pairs_file, [PAIRS[2].to_json()])
    assert main([*command, "--on-bad-row", "skip"]) == 2
    assert "p2:rejected: 9 tokens" in capsys.readouterr().err


def test_score_refuses_rewards_that_are_not_numbers(tmp_path, pairs_file, model, monkeypatch, capsys):
    monkeypatch.setitem(SCORES, "p2:chosen", math.nan)
    output = tmp_path / "scores.jsonl"
    assert main(["score", "--model", "ckpt", "--input", str(pairs_file), "--output", str(output)]) == 2
    assert "1 not finite (p2:chosen) of 8 scores" in capsys.readouterr().err
    assert not output.exists()


# Real pairs


def test_scorer_that_only_counts_characters_is_the_length_baseline_on_real_pairs(shared_data):
    """Expert annotations (arXiv 2306.04751) prefer the longer response in 523 of 774 pairs that are no tie."""
    lines = (shared_data / "tulu1-human-eval" / "annotations.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = []
    for number, row in enumerate(map(json.loads, lines)):
        a, b, strength = row["completion_a"], row["completion_b"], row["strength"]  # above 0: b is better
        if strength:
            prompt = (Message("user", row["prompt"]),)
            chosen, rejected = (b, a) if strength > 0 else (a, b)
            pairs.append(PreferencePair(str(number), prompt, chosen, rejected, abs(strength)))
    sides = [side for pair in pairs for side in pair.conversations()]
    report = evaluate_pairs(pairs, {side.id: len(side.messages[-1].content) for side in sides})
    assert (report.pairs, report.accuracy) == (774, 523 / 774)
    assert report.length_only_accuracy == report.accuracy and report.length_only_interval == report.interval
    assert report.reward_length_correlation == pytest.approx(1)
    assert [(name, group.pairs) for name, group in report.by_strength.items()] == [("1", 426), ("2", 348)]


def test_pairs_of_strength_0_are_left_out_and_counted():
    prompt = (Message("user", "which?"),)
    pairs = [PreferencePair("a", prompt, "x", "y", 2), PreferencePair("tie", prompt, "x", "y", 0)]
    report = evaluate_pairs(pairs, {"a:chosen": 1.0, "a:rejected": 0.0, "tie:chosen": 0.0, "tie:rejected": 1.0})
    assert (report.pairs, report.left_out, report.accuracy) == (1, 1, 1.0)
