"""RewardBench: the section arithmetic of published files, and reports on pairs."""

import json
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.data.records import Message, PreferencePair, read_pairs
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.rewardbench import evaluate_rewardbench, section_scores
from nemo_hs2pref.evaluation.rewardbench.sections import NUM_PAIRS, PRIOR_SETS, SECTIONS
from nemo_hs2pref.evaluation.statistics import bootstrap_interval

PROMPT = (Message("user", "Why?"),)
CORE = [subset for subsets in SECTIONS.values() for subset in subsets]
NAMES = ["Chat", "Chat Hard", "Safety", "Reasoning", "Overall"]
shares = st.floats(0, 1)


# --- sections ---


@pytest.mark.parametrize(
    "model", ["GPM-Gemma-2-2B", "GPM-Gemma-2-9B", "GPM-Gemma-2B", "GPM-Llama-3.1-8B-Instruct", "beaver-7b-v1.0-cost"]
)
def test_published_files_give_the_recomputed_sections(shared_data, model) -> None:
    folder = shared_data / "rewardbench-published-scores"
    published = json.loads((folder / f"{model}.json").read_text())
    expected = json.loads((folder / "section_scores_recomputed.json").read_text())["section_scores"][model]
    expected["Overall"] = expected.pop("overall")
    assert section_scores(published) == pytest.approx(expected, abs=1e-9)


def test_sections_and_weights_are_the_references(shared_data) -> None:
    reference = json.loads((shared_data / "rewardbench-published-scores/section_scores_recomputed.json").read_text())
    assert {subset: weight for subsets in SECTIONS.values() for subset, weight in subsets.items()} == (
        reference["example_counts"]
    )
    assert {section: list(subsets) for section, subsets in SECTIONS.items()} == reference["subset_mapping"]
    assert sum(NUM_PAIRS[subset] for subset in CORE) == 2985


def test_math_weighs_as_much_as_all_code() -> None:
    accuracy = {subset: float(subset == "math-prm") for subset in SECTIONS["Reasoning"]}
    assert section_scores(accuracy) == {"Reasoning": 0.5}


def test_overall_is_the_plain_mean_and_prior_sets_count_half_under_a_name_of_their_own() -> None:
    accuracy = {subset: 1.0 for subset in CORE} | dict.fromkeys(SECTIONS["Safety"], 0.0)
    prior = dict(zip(PRIOR_SETS, (0.1, 0.2, 0.3, 0.4), strict=True))
    scores = section_scores(accuracy | prior)
    assert list(scores) == [*NAMES, "Prior Sets", "Overall with Prior Sets"]
    assert (scores["Overall"], scores["Prior Sets"]) == (0.75, pytest.approx(0.25))
    assert scores["Overall with Prior Sets"] == pytest.approx((1 + 1 + 0 + 1 + 0.5 * 0.25) / 4.5)


@given(st.sets(st.sampled_from(list(NUM_PAIRS))), shares)
def test_a_section_of_which_a_subset_is_missing_is_left_out(there, share) -> None:
    scores = section_scores(dict.fromkeys(there, share))
    whole = [section for section, subsets in SECTIONS.items() if there >= subsets.keys()]
    expected = whole + ["Overall"] * (len(whole) == 4) + ["Prior Sets"] * (there >= PRIOR_SETS.keys())
    assert [name for name in scores if name != "Overall with Prior Sets"] == expected
    assert ("Overall with Prior Sets" in scores) == ("Overall" in scores and "Prior Sets" in scores)
    assert all(score == pytest.approx(share) for score in scores.values())


@given(st.fixed_dictionaries({subset: shares for subset in NUM_PAIRS}), st.randoms())
def test_per_cent_give_per_cent_and_the_order_does_not_matter(accuracy, random) -> None:
    items = list(accuracy.items())
    random.shuffle(items)
    shuffled = section_scores({subset: 100 * share for subset, share in items})
    assert shuffled == pytest.approx({name: 100 * score for name, score in section_scores(accuracy).items()})


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [
        ({"llmbar-adver-gptinst": 0.5}, "unknown subset 'llmbar-adver-gptinst', did you mean 'llmbar-adver-GPTInst'?"),
        ({"qqq": 0.5}, "unknown subset 'qqq'; the subsets are alpacaeval-easy"),
        ({"model": None}, "unknown subset 'model'"),
        ({"mt-bench-easy": "0.5"}, "the accuracy of mt-bench-easy is '0.5'; expected a finite number"),
        ({"mt-bench-easy": math.nan}, "the accuracy of mt-bench-easy is nan"),
        ({"mt-bench-easy": True}, "the accuracy of mt-bench-easy is True"),
    ],
)
def test_what_is_no_accuracy_of_a_subset_is_refused(accuracy, message) -> None:
    with pytest.raises(DataError) as error:
        section_scores(accuracy)
    assert message in str(error.value)


# --- reports ---


def pair(name: str, subset: str | None, chosen: str = "yes", rejected: str = "no") -> PreferencePair:
    return PreferencePair(name, PROMPT, chosen, rejected, subset=subset)


def rewards_of(pairs, of_chosen, of_rejected) -> dict[str, float]:
    return {f"{pair.id}:chosen": x for pair, x in zip(pairs, of_chosen, strict=True)} | {
        f"{pair.id}:rejected": x for pair, x in zip(pairs, of_rejected, strict=True)
    }


def test_report_of_six_pairs_counted_by_hand() -> None:
    pairs = [
        pair("a", "math-prm"),
        pair("b", "math-prm", "no", "yes"),
        pair("c", "math-prm", "", "no"),
        pair("d", "mt-bench-easy", "as", "no"),
        pair("e", "mt-bench-easy"),
        pair("f", "math-prm"),
    ]
    rewards = rewards_of(pairs, [1, 1, 1, 1, 0, 0], [0, 0, 1, 0, 1, 1])
    report = evaluate_rewardbench(pairs, rewards)
    assert (report.pairs, report.accuracy, report.ties, report.empty_responses) == (6, 3 / 6, 1, 1)
    assert (report.length_only_accuracy, report.shorter_only_accuracy) == (3 / 6, 2 / 6)
    assert list(report.subsets) == ["mt-bench-easy", "math-prm"]  # in the benchmark's order
    math_prm = report.subsets["math-prm"]
    assert (math_prm.pairs, math_prm.accuracy, math_prm.ties, math_prm.length_only_accuracy) == (4, 2 / 4, 1, 2 / 4)
    assert math_prm.interval == bootstrap_interval([1, 1, 0, 0])
    assert math_prm.shorter_only_accuracy == 2 / 4
    assert report.sections == {} and report.incomplete["Reasoning"] == [
        f"hep-{language}" for language in ("cpp", "go", "java", "js", "python", "rust")
    ]
    assert set(report.incomplete) == set(SECTIONS)
    assert vars(report.unofficial_counts["math-prm"]) == {"found": 4, "released": 447}


def test_complete_pairs_have_every_section_for_the_model_and_for_length() -> None:
    """One pair a subset: the model is right but for math, length is right in math alone."""
    pairs = [pair(name, name, *(("longer", "short") if name == "math-prm" else ("a", "long"))) for name in NUM_PAIRS]
    rewards = rewards_of(pairs, [float(name != "math-prm") for name in NUM_PAIRS], [0.5] * len(pairs))
    report = evaluate_rewardbench(pairs, rewards)
    expected = dict(zip(NAMES, (1, 1, 1, 0.5, 3.5 / 4), strict=True)) | {"Prior Sets": 1.0}
    expected["Overall with Prior Sets"] = 4 / 4.5
    assert report.sections == pytest.approx(expected)
    assert report.length_only_sections["Reasoning"] == 0.5 and report.length_only_sections["Overall"] == 0.5 / 4
    assert report.shorter_only_sections["Reasoning"] == 0.5 and report.shorter_only_sections["Overall"] == 3.5 / 4
    assert report.incomplete == {}
    table = report.table()
    assert "not scored" not in table and "Overall with Prior Sets" in table
    assert "not as released: math-prm has 1 rows, the release 447" in table


def test_prior_sets_are_missed_only_where_some_are_there() -> None:
    pairs = [pair("a", "shp")]
    report = evaluate_rewardbench(pairs, rewards_of(pairs, [1], [0]))
    assert report.incomplete["Prior Sets"] == ["anthropic_helpful", "anthropic_hhh", "summarize"]


def test_report_is_plain_json() -> None:
    pairs = [pair("a", "shp")]
    values = evaluate_rewardbench(pairs, rewards_of(pairs, [1], [0])).to_json()
    read = json.loads(json.dumps(values, allow_nan=False))
    assert read["subsets"]["shp"] == {
        "pairs": 1,
        "accuracy": 1.0,
        "interval": [1, 1],
        "ties": 0,
        "length_only_accuracy": 1.0,
        "shorter_only_accuracy": 0.0,
    }
    assert read["intervals"]["confidence"] == 0.95


@given(
    st.lists(st.tuples(st.sampled_from(CORE), st.integers(-4, 4), st.integers(-4, 4)), min_size=1, max_size=12),
    st.integers(-2, 3),
    st.integers(-50, 50),
    st.randoms(),
)
def test_neither_the_scale_of_rewards_nor_the_order_of_pairs_matters(rows, power, shift, random) -> None:
    """Powers of two and small integers, so that equal rewards stay equal."""
    pairs = [pair(str(number), subset) for number, (subset, _, _) in enumerate(rows)]
    rewards = rewards_of(pairs, [row[1] for row in rows], [row[2] for row in rows])
    moved = {name: reward * 2.0**power + shift for name, reward in rewards.items()}
    shuffled = random.sample(pairs, len(pairs))
    before, after = evaluate_rewardbench(pairs, rewards), evaluate_rewardbench(shuffled, moved)
    assert (before.accuracy, before.ties, before.sections) == (after.accuracy, after.ties, after.sections)
    for name, subset in before.subsets.items():
        assert (subset.pairs, subset.accuracy, subset.ties) == (
            after.subsets[name].pairs,
            after.subsets[name].accuracy,
            after.subsets[name].ties,
        )


def test_all_pairs_of_no_subset_are_named_together() -> None:
    pairs = [
        pair("a", None),
        pair("b", "llmbar-Natural"),
        pair("c", "shp"),
        *(pair(f"x{n}", "other") for n in range(5)),
    ]
    with pytest.raises(DataError) as error:
        evaluate_rewardbench(pairs, rewards_of(pairs, [1] * 8, [0] * 8))
    assert str(error.value).startswith(
        "7 of 8 pairs belong to no subset of RewardBench: 1 with no subset (a); "
        "1 with unknown subset 'llmbar-Natural', did you mean 'llmbar-natural'? (b); "
        "5 with unknown subset 'other' (x0, x1, x2, ...); the subsets are alpacaeval-easy, "
    )


@pytest.mark.parametrize(
    ("reward", "problem"), [(None, "1 missing"), (math.nan, "1 not finite"), (math.inf, "1 not finite")]
)
def test_rewards_that_are_missing_or_no_numbers_are_refused(reward, problem) -> None:
    pairs = [pair("a", "shp"), pair("b", "shp")]
    rewards = rewards_of(pairs, [1, 1], [0, 0]) | {"b:chosen": reward}
    rewards = {name: value for name, value in rewards.items() if value is not None}
    with pytest.raises(DataError, match=rf"{problem} \(b:chosen\)"):
        evaluate_rewardbench(pairs, rewards)


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(DataError, match="no pairs to evaluate"):
        evaluate_rewardbench([], {})


# --- LLMBar ---


@pytest.fixture
def llmbar_pairs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import llmbar_pairs  # pyright: ignore[reportMissingImports] a script's folder

    return llmbar_pairs


def test_llmbar_is_chat_hard_but_for_one_subset(llmbar_pairs, shared_data, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["llmbar_pairs.py", str(shared_data / "llmbar"), str(tmp_path / "pairs.jsonl")])
    llmbar_pairs.main()
    pairs = read_pairs(tmp_path / "pairs.jsonl", require_strength=False)
    rewards = {side.id: float(len(side.messages[-1].content)) for one in pairs for side in one.conversations()}
    report = evaluate_rewardbench(pairs, rewards)
    assert report.unofficial_counts == {}  # 100 + 134 + 92 + 47 + 46
    assert report.incomplete["Chat Hard"] == ["mt-bench-hard"]
    assert report.accuracy == report.length_only_accuracy  # the reward was the length


def test_llmbar_label_says_which_output_is_the_better_one(llmbar_pairs, tmp_path) -> None:
    rows = [{"input": "?", "output_1": "one", "output_2": "two", "label": label} for label in (1, 2)]
    for file in llmbar_pairs.SUBSET_OF_FILE:
        (tmp_path / f"{file}.json").write_text(json.dumps(rows))
    first, second, *_ = llmbar_pairs.llmbar_pairs(tmp_path)
    assert (first.id, first.chosen, first.rejected) == ("llmbar-natural/1", "one", "two")
    assert (second.id, second.chosen, second.rejected) == ("llmbar-natural/2", "two", "one")
