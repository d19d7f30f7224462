"""`hs2pref report`: what it says of runs, what it says is missing, and what no text on the page can do."""

import json
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from report_runs import (
    by_length,
    by_quality,
    rewarded,
    some_pairs,
    write_data,
    write_evaluation,
    write_rewardbench,
    write_rewardbench2,
    write_scored_rewardbench,
    write_training,
)

from nemo_hs2pref.checkpoint.identity import Identity, identity_of
from nemo_hs2pref.cli import main
from nemo_hs2pref.data.records import Message, PreferencePair
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.calibration import confidence_and_outcome
from nemo_hs2pref.evaluation.comparison import Comparison
from nemo_hs2pref.evaluation.preference_report import PreferenceReport
from nemo_hs2pref.evaluation.published import OTHERS, PUBLISHED
from nemo_hs2pref.evaluation.rewardbench.difference import WEIGHTS
from nemo_hs2pref.evaluation.rewardbench.report import RewardBenchReport
from nemo_hs2pref.evaluation.rewardbench.sections import SECTIONS
from nemo_hs2pref.evaluation.rewardbench2 import DOMAINS
from nemo_hs2pref.evaluation.rewardbench2.report import RewardBench2Report
from nemo_hs2pref.files import write_json
from nemo_hs2pref.plots import evaluation as plots
from nemo_hs2pref.plots.training import draw_training
from nemo_hs2pref.report import drawing
from nemo_hs2pref.report.document import Section, Table
from nemo_hs2pref.report.drawing import joined
from nemo_hs2pref.report.evaluations import find_evaluations
from nemo_hs2pref.report.figures import OF_SHARES, UNITS, cells, tables
from nemo_hs2pref.report.findings import CALIBRATION, CHANCE, DEPENDENCE, LENGTH, findings
from nemo_hs2pref.report.html import anchors
from nemo_hs2pref.report.markdown import fenced, text
from nemo_hs2pref.report.texts import printable
from nemo_hs2pref.report.verdicts import difference_interval
from nemo_hs2pref.report.write import write_report

HOSTILE = "<script>alert(1)</script> ]]> </div> <img src=http://x/y> | `a` ```\n\x00\x1b \U0001f600 \u202e &amp; $title"


@pytest.fixture
def pictures() -> None:
    """Asked for by a test that needs them."""


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch) -> None:
    """They take two seconds, so a page has none, as where matplotlib is missing, unless the test asks for them."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(drawing, "find_spec", lambda name: None)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A trained run with one evaluation, of a good model."""
    write_data(tmp_path / "data")
    write_training(tmp_path / "stage2", tmp_path / "data", "model.optim.lr=3e-6")
    pairs = some_pairs()
    write_evaluation(tmp_path / "stage2" / "evaluation", pairs, rewarded(pairs, by_quality))
    return tmp_path / "stage2"


def pages(*folders: Path, out: Path | None = None) -> tuple[str, str]:
    """The Markdown, and the HTML without its pictures."""
    folder = write_report(folders, out)
    html = re.sub(r"<svg.*?</svg>", "", (folder / "report.html").read_text(), flags=re.DOTALL)
    return (folder / "report.md").read_text(), html


def answers(folder: Path) -> dict[str, str]:
    (evaluation,) = find_evaluations(folder)
    return {finding.question: finding.answer for finding in findings(evaluation)}


# --- what it says ---


def test_page_answers_the_question_before_anything_else(run):
    for page in pages(run):
        at = [
            page.index(words) for words in ("Can this reward model be trusted?", "With care: whether the length", "By")
        ]
        assert at == sorted(at)


def test_good_model_is_trusted_where_there_are_pairs_enough_to_tell(tmp_path):
    pairs = some_pairs(2000)
    write_evaluation(tmp_path / "e", pairs, rewarded(pairs, by_quality))
    assert set(answers(tmp_path / "e").values()) == {"yes"}
    assert "**Yes, as far as 2,000 pairs tell.**" in pages(tmp_path / "e")[0]


def test_accuracy_stands_beside_that_of_length_with_its_interval(run):
    markdown, _ = pages(run)
    assert re.search(
        r"400 pairs: the reward is right in \d\d\.\d %, taking the longer response in \d\d\.\d %", markdown
    )
    assert re.search(r"\| accuracy \| \d\d\.\d % \\\[\d\d\.\d, \d\d\.\d\\\] \|", markdown)


def test_model_that_follows_length_is_not_trusted(tmp_path):
    pairs = some_pairs()
    write_evaluation(tmp_path / "e", pairs, rewarded(pairs, by_length))
    markdown, _ = pages(tmp_path / "e")
    assert "**No: it is not shown to be better than length alone.**" in markdown
    assert answers(tmp_path / "e")[DEPENDENCE] == "no, it favours long responses"


def by_brevity(response: str, chosen: bool, chance: random.Random) -> float:
    return -len(response) / 100


def test_model_that_follows_brevity_is_not_trusted_where_chosen_responses_are_short(tmp_path):
    pairs = pairs_where_the_chosen_is([True] * 100 + [False] * 300)
    write_evaluation(tmp_path / "e", pairs, rewarded(pairs, by_brevity))
    markdown, _ = pages(tmp_path / "e")
    assert "**No: it is not shown to be better than length alone.**" in markdown
    assert "the reward is right in 75.0 %, taking the shorter response in 75.0 %" in markdown


def test_rewards_that_know_nothing_are_worse_than_brevity_where_chosen_responses_are_short(tmp_path):
    pairs = pairs_where_the_chosen_is([True] * 100 + [False] * 300)
    write_evaluation(tmp_path / "e", pairs, rewards_right_in(pairs, 0.55, margin=1.0))
    assert answers(tmp_path / "e")[LENGTH] == "no, worse"


def test_equal_lengths_count_half_to_length_alone(tmp_path):
    pairs = [PreferencePair(f"p{n}", (Message("user", f"{n}?"),), "same", "same", 1) for n in range(100)]
    write_evaluation(tmp_path / "e", pairs, rewards_right_in(pairs, 0.55, margin=1.0))
    assert answers(tmp_path / "e")[LENGTH] == "not shown"


def test_summary_that_does_not_know_the_shorter_response_is_asked_for_again(run):
    summary = json.loads((run / "evaluation" / "summary.json").read_text())
    del summary["shorter_only_accuracy"]
    write_json(run / "evaluation" / "summary.json", summary)
    assert answers(run)[LENGTH] == "open" and "evaluate again" in pages(run)[0]


def test_rewards_ten_times_too_large_are_over_confident(tmp_path):
    pairs = some_pairs()
    rewards = {name: 10 * reward for name, reward in rewarded(pairs, by_quality).items()}
    write_evaluation(tmp_path / "e", pairs, rewards)
    assert answers(tmp_path / "e")[CALIBRATION] == "no, over-confident"


def test_over_and_under_confidence_that_cancel_are_told(tmp_path):
    """200 pairs claim 50 % and are all right; 200 claim 100 %, right in half: 75 % by margins and in fact."""
    pairs = some_pairs(400)
    rewards = rewards_right_in(pairs, 0.5, margin=6.0)
    rewards |= {f"p{n}:{side}": 0.02 * (side == "chosen") for n in range(0, 400, 2) for side in ("chosen", "rejected")}
    write_evaluation(tmp_path / "e", pairs, rewards)
    assert answers(tmp_path / "e")[CALIBRATION] == "no, over- and under-confident"


def test_calibration_error_of_few_pairs_is_not_held_against_a_calibrated_model(tmp_path):
    pairs = some_pairs(40)
    write_evaluation(tmp_path / "e", pairs, rewarded(pairs, by_quality))
    summary = json.loads((tmp_path / "e" / "summary.json").read_text())
    assert summary["calibration"]["expected_calibration_error"] > 0.1
    assert answers(tmp_path / "e")[CALIBRATION] == "open"


def test_accuracy_that_guessing_reaches_too_is_not_shown_to_be_better(tmp_path):
    pairs = some_pairs(100)
    rewards = {side.id: float(side.id.endswith("chosen")) for pair in pairs for side in pair.conversations()}
    rewards |= {f"p{n}:rejected": 2.0 for n in range(45)}  # right in 55 of 100: 95 % of the intervals reach 45 to 65
    write_evaluation(tmp_path / "e", pairs, rewards)
    assert answers(tmp_path / "e")["Better than chance?"] == "not shown"


def test_model_that_prefers_the_rejected_response_is_asked_for_its_sign(tmp_path):
    pairs = some_pairs(100)
    write_evaluation(tmp_path / "e", pairs, rewards_right_in(pairs, 0.27, margin=1.0))
    assert answers(tmp_path / "e")[CHANCE] == "no, worse"
    markdown, _ = pages(tmp_path / "e")
    assert "**No: it prefers the rejected response more often than guessing would; are the sides" in markdown
    assert "cannot be told from guessing" not in markdown


def test_constant_rewards_are_told_as_ties_and_have_no_margins_to_ask(tmp_path):
    pairs = some_pairs(100)
    write_evaluation(tmp_path / "e", pairs, rewards_right_in(pairs, 1.0, margin=0.0))
    found = answers(tmp_path / "e")
    assert (found[CHANCE], found[CALIBRATION], found[DEPENDENCE]) == ("not shown", "open", "open")
    markdown, _ = pages(tmp_path / "e")
    assert "**No: both responses have the same reward in 100 of 100 pairs.**" in markdown
    assert "In 100 both responses have the same reward, which counts as wrong." in markdown


def test_accuracy_that_only_ties_bring_below_guessing_is_not_called_worse(tmp_path):
    pairs = some_pairs(100)
    rewards = rewards_right_in(pairs, 0.5, margin=1.0)
    rewards |= {side.id: 0.0 for pair in pairs[::3] for side in pair.conversations()}
    write_evaluation(tmp_path / "e", pairs, rewards)
    assert answers(tmp_path / "e")[CHANCE] == "not shown"


def rewards_right_in(pairs: list[PreferencePair], share: float, margin: float) -> dict[str, float]:
    """Every pair has the margin; a tie is one of margin 0."""
    right = round(share * len(pairs))
    return {
        side.id: margin * (side.id.endswith("chosen") == (number < right))
        for number, pair in enumerate(pairs)
        for side in pair.conversations()
    }


def pairs_where_the_chosen_is(longer: list[bool]) -> list[PreferencePair]:
    sides = {True: ("long text", "short"), False: ("short", "long text")}
    return [PreferencePair(f"p{n}", (Message("user", f"{n}?"),), *sides[of], 1) for n, of in enumerate(longer)]


@pytest.mark.parametrize("number, answer", [(30, "open"), (3000, "no, under-confident")])
def test_gap_of_the_margins_is_open_where_the_pairs_are_too_few_to_tell(tmp_path, number, answer):
    """By its margins right in 60 %, in fact in 70 %."""
    pairs = some_pairs(number)
    write_evaluation(tmp_path / "e", pairs, rewards_right_in(pairs, 0.7, margin=0.405))
    (evaluation,) = find_evaluations(tmp_path / "e")
    found = {finding.question: finding for finding in findings(evaluation)}[CALIBRATION]
    assert found.answer == answer
    assert ("too few pairs to tell" in found.reason) == (answer == "open")


@pytest.mark.parametrize("times, answer", [(1, "open"), (50, "no, it favours long responses")])
def test_gap_by_length_is_open_where_the_pairs_are_too_few_to_tell(tmp_path, times, answer):
    """Right in 11 of 12 where the longer response is the better one, in 8 of 12 where the shorter one is."""
    pairs = pairs_where_the_chosen_is(([True] * 12 + [False] * 12) * times)
    wrong = {f"p{n}:rejected": 2.0 for n in range(24 * times) if n % 24 in (0, 12, 13, 14, 15)}
    write_evaluation(tmp_path / "e", pairs, rewards_right_in(pairs, 1, margin=1.0) | wrong)
    assert answers(tmp_path / "e")[DEPENDENCE] == answer


def test_equal_shares_of_a_few_pairs_show_no_independence(tmp_path):
    """Right in 10 of 12 either way: the interval of the difference is 60 points wide."""
    pairs = pairs_where_the_chosen_is([True, False] * 12)
    wrong = {f"p{n}:rejected": 2.0 for n in range(4)}
    write_evaluation(tmp_path / "e", pairs, rewards_right_in(pairs, 1, margin=1.0) | wrong)
    assert answers(tmp_path / "e")[DEPENDENCE] == "open"


def test_fewer_than_thirty_prompts_answer_nothing(tmp_path):
    pairs = some_pairs(29)
    for name in "ab":
        write_evaluation(tmp_path / name / "e", pairs, rewards_right_in(pairs, name == "a", margin=9.0))
    assert set(answers(tmp_path / "a").values()) == {"open"}
    assert "Nobody knows yet: this evaluation answers no question." in pages(tmp_path / "a")[0]
    markdown, _ = pages(tmp_path / "a", tmp_path / "b")
    assert markdown.count("| open |") == 2 and "| open: fewer than 30 prompts |" in markdown


def test_tie_is_half_right_where_margins_are_probabilities(tmp_path):
    """Right in half of the pairs, a tie in the others: sigma(1.1) is 75 %, sigma(0) 50 %, the truth 100 % and 50 %."""
    pairs = some_pairs(400)
    rewards = rewards_right_in(pairs, 0.5, margin=1.0986) | {f"p{n}:rejected": 0.0 for n in range(200, 400)}
    write_evaluation(tmp_path / "e", pairs, rewards)
    (evaluation,) = find_evaluations(tmp_path / "e")
    found = {finding.question: finding for finding in findings(evaluation)}[CALIBRATION]
    assert "By its margins it is right in 62.5 %, in fact in 75.0 %: -12.5 points" in found.reason
    line = plots.draw_reliability(*confidence_and_outcome(evaluation.margins())).axes[0].containers[0].lines[0]
    assert line.get_xydata() == pytest.approx(np.array([[0.5, 0.5], [0.75, 1.0]]), abs=1e-4)


def test_interval_of_a_difference_of_shares_is_that_of_two_binomials():
    first, second = np.arange(98) < 73, np.arange(98) < 48  # with one success and one failure more: 0.74 and 0.49
    half = 1.96 * (0.74 * 0.26 / 100 + 0.49 * 0.51 / 100) ** 0.5
    assert difference_interval(first, second) == pytest.approx((0.25 - half, 0.25 + half))
    low, high = difference_interval(np.ones(300, bool), np.zeros(300, bool))
    assert 0.95 < low < high == 1, "no difference is larger"


def test_training_pairs_give_no_answer(run):
    """The checkpoint names the hash of its training data; however right it is there, that says nothing."""
    summary = json.loads((run / "evaluation" / "summary.json").read_text())
    write_json(run / "evaluation" / "summary.json", summary | {"input": {**summary["input"], "sha256": "cd" * 32}})
    for page in pages(run):
        assert "No answer: the model was trained on these pairs." in page and "Yes, as far as" not in page


@pytest.mark.parametrize(
    "made",
    [
        {"extrapolated": {"weak": "base", "strong": "last", "alpha": 1.52}},
        {"extrapolated": {"weak": "last", "strong": "base", "alpha": 1.52}},
        {"averaged": [{"model": "base", "weight": 0.5}, {"model": "last", "weight": 0.5}]},
        {"merged": {"adapter": "last", "base": "base", "step": 3}},
        {"run": {"pretrained_checkpoint": {"restore_from_path": "last"}}},
    ],
)
def test_training_pairs_of_what_a_model_comes_from_give_no_answer(run, tmp_path, monkeypatch, made):
    """Also through a second model in between; the places are relative to where it was made, as a user gives them."""
    monkeypatch.chdir(run / "checkpoints")
    between = {"averaged": [{"model": str(tmp_path / "made"), "weight": 1.0}, {"model": "gone", "weight": 1.0}]}
    write_json(tmp_path / "made" / "hs2pref.json", made)
    write_json(tmp_path / "again" / "hs2pref.json", between)
    pairs = some_pairs(30)
    given = {"name": "pairs.train.jsonl", "sha256": "cd" * 32}
    write_evaluation(tmp_path / "again" / "e", pairs, rewarded(pairs, by_quality), input=given)
    assert "No answer: the model was trained on these pairs." in pages(tmp_path / "again")[0]


def test_configuration_names_the_nearest_experiment_and_what_differs(run):
    markdown, _ = pages(run)
    assert "Nearest experiment: rm_stage2_scaled_bt" in markdown and "It differs in 2 of" in markdown
    assert "| model.optim.lr | 3e-06 | 1e-06 |" in markdown


def test_data_is_told_with_rows_hash_drops_and_whether_it_changed(run, tmp_path):
    assert "| pairs.train.jsonl | 6,766 | cdcdcdcdcdcd… | tie 12 | the same |" in pages(run)[0]
    write_data(tmp_path / "data", digest="ef" * 32)
    assert "| tie 12 | changed; it was cdcdcdcdcdcd… |" in pages(run)[0]


def floats_of(report, parent: str = "") -> Iterator[tuple[str, str]]:
    """(key, key of the mapping around it) of every float that the dataclass puts into a summary."""
    for name, hint in get_type_hints(report).items():
        if hint in (float, float | None):
            yield name, parent
        elif hint == dict[str, float]:
            yield "*", name
        for inner in (hint, *get_args(hint)):
            if is_dataclass(inner):
                yield from floats_of(inner, name)


@pytest.mark.parametrize("report", [PreferenceReport, RewardBenchReport, RewardBench2Report, Comparison])
def test_every_figure_of_a_report_has_a_declared_unit(report):
    undeclared = {(key, parent) for key, parent in floats_of(report) if key not in UNITS and parent not in OF_SHARES}
    assert not undeclared


def test_figures_are_shown_in_their_units():
    group = {"brier_score": 0.25, "score": 0.5, "difference": 0.04, "interval": [0.01, 0.07], "new_score": 0.5}
    assert cells({key: group[key] for key in ("brier_score", "score", "new_score")}, "") == {
        "brier_score": "0.250", "score": "50.0 %", "new_score": "0.500"
    }  # fmt: skip
    assert cells({key: group[key] for key in ("difference", "interval")}, "") == {"difference": "+4.0 [1.0, 7.0]"}


def test_groups_of_any_name_become_a_table():
    group = {"pairs": 7, "accuracy": 0.5, "interval": [0.25, 0.75], "gain_over_length": -0.1}
    (section,) = tables({"by_moon": {"full": group, "new": {"pairs": 1}}})
    assert section.title == "By moon"
    (table,) = section.blocks
    assert isinstance(table, Table)
    assert table.header == ("", "pairs", "accuracy", "gain over length, points")
    assert table.rows == [("full", "7", "50.0 % [25.0, 75.0]", "-10.0"), ("new", "1", "-", "-")]


def test_one_group_is_shown_unless_it_is_all_pairs():
    groups = {"by_ties": {"ties": {"pairs": 3}}}
    (section,) = [block for block in tables({"pairs": 5, **groups}) if isinstance(block, Section)]
    (table,) = section.blocks
    assert isinstance(table, Table) and table.rows == [("ties", "3")], "a group's name is not a figure's"
    assert not [block for block in tables({"pairs": 3, **groups}) if isinstance(block, Section)]


def test_two_evaluations_of_one_file_have_places_pictures_and_titles_of_their_own(tmp_path, pictures):
    pairs = some_pairs(30)
    for name in ("a_b", "a-b"):
        write_evaluation(tmp_path / "run" / name, pairs, rewarded(pairs, by_quality))
    folder = write_report([tmp_path / "run"])
    html, markdown = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids)) and set(re.findall(r'href="#(evaluation[^"]*)"', html)) < set(ids)
    assert len(list(folder.glob("*.png"))) == 8
    assert all(f"## Evaluation: Preferences (pairs.validation.jsonl), {name}" in markdown for name in ("a_b", "a-b"))


def test_names_that_differ_stay_different_in_files_and_anchors():
    names = [("a_b", "c"), ("a-b", "c"), ("a", "b-c"), ("a", "b/c"), ("A", "b-c"), ("ä", "c"), ("ö", "c")]
    assert len({joined(*each).lower() for each in names}) == len(names)
    assert joined("stage2", "evaluation") == "stage2--evaluation"
    assert anchors(["A b", "A-b", "a b 2", "A B"]) == ["a-b", "a-b-2", "a-b-2-2", "a-b-3"]


def test_worst_examples_are_those_with_the_largest_wrong_margin_first(tmp_path):
    pairs = some_pairs(30)
    rewards = {side.id: 1.0 if side.id.endswith("chosen") else 0.0 for p in pairs for side in p.conversations()}
    rewards |= {"p5:rejected": 9.0, "p7:rejected": 4.0}
    write_evaluation(tmp_path / "e", pairs, rewards)
    markdown, _ = pages(tmp_path / "e")
    assert "2 of 2 pairs" in markdown
    assert markdown.index("#### p5\n\nmargin -8.000 · strength 3, much better") < markdown.index("#### p7")


# --- RewardBench and several runs ---

FULL = {"Chat": 0.9, "Chat Hard": 0.5, "Safety": 0.7, "Reasoning": 0.8, "Overall": 0.725}


def test_standardized_rewards_are_told(tmp_path):
    pairs = some_pairs(30)
    write_evaluation(tmp_path / "e", pairs, rewarded(pairs, by_quality), standardized=True)
    assert "| rewards | standardized: margins and calibration are in units" in pages(tmp_path / "e")[0]


def test_rewardbench_stands_beside_published_rows_that_say_so(tmp_path):
    write_rewardbench(tmp_path / "rb", FULL)
    markdown, html = pages(tmp_path / "rb")
    assert "| this model | 72.5 | 90.0 | 50.0 | 70.0 | 80.0 | measured here |" in markdown
    assert markdown.count("| published: ") == len(PUBLISHED) + len(OTHERS) == html.count("<tr class=quiet>")
    assert "| 94.1 | 97.5 | 85.7 | 95.1 | 98.1 | published: HelpSteer2-Preference, Table 1 |" in markdown


def test_section_that_is_not_scored_is_a_gap_with_its_reason(tmp_path):
    write_rewardbench(tmp_path / "rb", {"Chat": 0.9})
    markdown, _ = pages(tmp_path / "rb")
    assert "| this model | - | 90.0 | - | - | - | measured here |" in markdown
    assert "Not scored: Safety, which lacks donotanswer." in markdown


PRIOR = FULL | {"Prior Sets": 0.846, "Overall with Prior Sets": 0.738}


def test_prior_sets_have_columns_where_they_are_scored(tmp_path):
    write_rewardbench(tmp_path / "a" / "rb", PRIOR)
    write_rewardbench(tmp_path / "b" / "rb", FULL)
    for markdown in (pages(tmp_path / "a")[0], pages(tmp_path / "a", tmp_path / "b")[0]):
        assert "| Reasoning | Prior Sets | Overall with Prior Sets | source |" in markdown
        assert "| 72.5 | 90.0 | 50.0 | 70.0 | 80.0 | 84.6 | 73.8 | measured here |" in markdown
        assert "| 88.8 | 91.3 | 80.3 | 92.8 | 90.7 | 66.5 | - | published: HelpSteer2, Table 3 |" in markdown
    assert "Prior Sets" not in pages(tmp_path / "b")[0]


def llmbar(folder: Path) -> Path:
    """Two subsets of Chat Hard, which are no section."""
    names = ["llmbar-natural", "llmbar-adver-manual"] * 10
    pairs = [PreferencePair(f"p{n}", (Message("user", f"{n}?"),), "b", "a", subset=of) for n, of in enumerate(names)]
    write_scored_rewardbench(folder, pairs, rewards_right_in(pairs, 1.0, margin=1.0))
    return folder


def test_subsets_stand_beside_published_ones_that_say_so(tmp_path):
    markdown, _ = pages(llmbar(tmp_path / "rb"))
    models = "published: Llama-3.1-Nemotron-70B-Reward | published: Skywork-Reward-Gemma-2-27B"
    assert f"| shorter response | {models} |" in markdown
    assert re.search(r"\| llmbar-natural \| 10 \| 100.0 % .* \| 95.0 % \| 96.0 % \|", markdown)
    assert "Published accuracies are from HelpSteer2-Preference, subsets of Chat Hard." in markdown
    write_rewardbench(tmp_path / "of-math", FULL)
    assert "published: Llama-3.1" not in pages(tmp_path / "of-math")[0]


def test_no_complete_section_is_a_sentence_and_no_row_of_dashes(tmp_path):
    markdown, _ = pages(llmbar(tmp_path / "a" / "rb"))
    assert "No section is complete, so none is scored." in markdown and "| this model |" not in markdown
    write_rewardbench(tmp_path / "b" / "rb", FULL)
    assert "| measured here; no section is complete |" in pages(tmp_path / "a", tmp_path / "b")[0]


FAIR = {"Factuality": (475, 0.5, 0.3), "Math": (183, 0.4, 0.3), "Ties": (102, 0.1, 0.3)}


@pytest.mark.parametrize(
    "domains, chance, length, headline",
    [
        (FAIR, "yes", "yes", "Yes, as far as 2,280 pairs tell"),
        (FAIR | {"Focus": (495, 0.26, 0.1)}, "in some domains", "yes", "With care: it is better than guessing in some"),
        ({"Focus": (495, 0.22, 0.05)}, "not shown", "yes", "No: its accuracy cannot be told from guessing"),
        ({"Focus": (495, 0.15, 0.05)}, "no, worse", "yes", "No: it prefers the rejected response more often than"),
        ({"Ties": (102, 0.9, 0.1)}, "open", "open", "Nobody knows yet"),
        ({"Math": (19, 0.9, 0.1), "Ties": (102, 0.9, 0.1)}, "open", "open", "Nobody knows yet"),
    ],
)
def test_rewardbench2_asks_every_domain_that_can_tell(tmp_path, domains, chance, length, headline):
    write_rewardbench2(tmp_path / "rb2", domains)
    assert answers(tmp_path / "rb2") == {CHANCE: chance, LENGTH: length}
    assert f"**{headline}" in pages(tmp_path / "rb2")[0]


def test_domain_of_rewardbench2_is_asked_against_brevity_too(tmp_path):
    write_rewardbench2(tmp_path / "rb2", {"Math": (183, 0.5, 0.1)})
    path = tmp_path / "rb2" / "summary.json"
    path.write_text(path.read_text().replace('"shorter_only_score": 0.0', '"shorter_only_score": 0.5'))
    assert answers(tmp_path / "rb2") == {CHANCE: "yes", LENGTH: "not shown"}


@pytest.mark.parametrize("with_pairs", [True, False])
@pytest.mark.parametrize("longer", [True, False])
def test_section_of_rewardbench_that_pooled_pairs_hide_is_named(tmp_path, with_pairs, longer):
    """Right everywhere but in four of ten in Chat Hard; in Safety, and nowhere else, length alone is always right."""
    pairs, rewards = [], {}
    for section, subsets in SECTIONS.items():
        for n, subset in enumerate([*subsets] * 20):
            sides = ("long text", "short") if (longer if section == "Safety" else n % 2) else ("short", "long text")
            pair = PreferencePair(f"{section}{n}", (Message("user", f"{section} {n}?"),), *sides, subset=subset)
            right = section != "Chat Hard" or n % 10 < 4
            rewards |= {f"{pair.id}:chosen": float(right), f"{pair.id}:rejected": float(not right)}
            pairs.append(pair)
    write_scored_rewardbench(tmp_path / "rb", pairs, rewards)
    if not with_pairs:
        summary = json.loads((tmp_path / "rb" / "summary.json").read_text())
        write_json(tmp_path / "rb" / "summary.json", summary | {"interval": [0.8, 0.9]})
        (tmp_path / "rb" / "scored_pairs.jsonl").unlink()
    found = answers(tmp_path / "rb")
    assert found[CHANCE] == "yes, but not shown in Chat Hard"
    assert found[LENGTH] == "yes, but not shown in Chat Hard, Safety"
    assert "**With care: it is better than guessing in some parts of the benchmark only" in pages(tmp_path / "rb")[0]


@pytest.mark.parametrize("with_pairs", [True, False])
def test_section_of_fewer_than_thirty_pairs_shows_nothing(tmp_path, with_pairs):
    """Four pairs a subset, all right."""
    names = [(f"{subset} {n}", subset) for subsets in SECTIONS.values() for subset in subsets for n in range(4)]
    pairs = [PreferencePair(name, (Message("user", name),), "b", "a", subset=subset) for name, subset in names]
    write_scored_rewardbench(tmp_path / "rb", pairs, rewards_of_ids({pair.id: 1.0 for pair in pairs}))
    if not with_pairs:
        (tmp_path / "rb" / "scored_pairs.jsonl").unlink()
        path = tmp_path / "rb" / "summary.json"
        write_json(path, json.loads(path.read_text()) | {"interval": [0.9, 1.0]})
    assert answers(tmp_path / "rb")[CHANCE] == "yes, but not shown in Chat, Chat Hard, Safety, Reasoning"


def test_section_is_not_shown_by_a_subset_of_one_pair_that_weighs_half(tmp_path):
    names = ["math-prm", *[name for name in SECTIONS["Reasoning"] if name != "math-prm"] * 10]
    others = [name for section, subsets in SECTIONS.items() if section != "Reasoning" for name in [*subsets] * 10]
    numbered = list(enumerate([*names, *others]))
    pairs = [PreferencePair(f"p{n}", (Message("user", f"{n}?"),), "b", "a", subset=name) for n, name in numbered]
    margins = {f"p{n}": -1.0 if name.startswith("hep") and n % 2 else 1.0 for n, name in numbered}
    write_scored_rewardbench(tmp_path / "rb", pairs, rewards_of_ids(margins))
    assert answers(tmp_path / "rb")[CHANCE] == "yes, but not shown in Reasoning"


def rewards_of_ids(margins: dict[str, float]) -> dict[str, float]:
    """The rejected side has 0."""
    sides = ("chosen", "rejected")
    return {f"{name}:{side}": margin * (side == "chosen") for name, margin in margins.items() for side in sides}


def test_several_runs_are_compared_on_the_same_pairs(tmp_path):
    pairs = some_pairs(100)
    right = {side.id: float(side.id.endswith("chosen")) for pair in pairs for side in pair.conversations()}
    wrong = right | {f"p{n}:rejected": 2.0 for n in range(20)}
    write_evaluation(tmp_path / "a" / "e", pairs, right)
    write_evaluation(tmp_path / "b" / "e", pairs, wrong)
    write_rewardbench(tmp_path / "b" / "rb", FULL)
    markdown, _ = pages(tmp_path / "a", tmp_path / "b")

    row = next(line for line in markdown.splitlines() if line.startswith("| a less b |"))
    assert re.search(r"\| 100 \| \+20\.0 \| \+1\d\.0 to \+2\d\.0 \| 20 \| 0 \| better \|$", row)
    assert "| b | 72.5 | 90.0 | 50.0 | 70.0 | 80.0 | measured here |" in markdown
    assert "Not evaluated on RewardBench: a." in markdown
    assert (tmp_path / "report" / "report.html").is_file()


def test_runs_on_other_pairs_are_not_compared(tmp_path):
    for name in "ab":
        pairs = [replace(pair, prompt=(Message("user", f"{name}{pair.id}"),)) for pair in some_pairs(30)]
        write_evaluation(tmp_path / name / "e", pairs, rewarded(pairs, by_quality))
    assert "No two of these runs were evaluated on the same pairs." in pages(tmp_path / "a", tmp_path / "b")[0]


def test_rewardbench_ranks_and_compares_by_overall(tmp_path):
    """a is right in all 7 subsets of Reasoning, b in the 5 of Safety and one of Chat, 100 of 358: fewer pairs."""
    pairs = pairs_where_the_chosen_is([True] * 920)
    pairs = [replace(pair, subset=name) for pair, name in zip(pairs, [*WEIGHTS] * 40, strict=True)]
    for name, subsets in (("a", SECTIONS["Reasoning"]), ("b", [*SECTIONS["Safety"], "alpacaeval-easy"])):
        rewards = {
            side.id: float(side.id.endswith("chosen") == (pair.subset in subsets))
            for pair in pairs
            for side in pair.conversations()
        }
        write_scored_rewardbench(tmp_path / name / "e", pairs, rewards)
    markdown, _ = pages(tmp_path / "a", tmp_path / "b")
    assert "b has the highest Overall, 32.0 %; whether that is a difference stands below." in markdown
    row = next(line for line in markdown.splitlines() if line.startswith("| a less b |"))
    assert re.search(r"Overall \| 920 \| -7\.0 \| -7\.0 to -7\.0 \| 280 \| 240 \| worse \|$", row)


def test_rewardbench2_ranks_by_overall_and_promises_no_test(tmp_path):
    domains = {name: (100, 0.5, 0.4) for name in DOMAINS}
    write_rewardbench2(tmp_path / "a" / "e", domains, accuracy=0.9, overall=0.5)
    write_rewardbench2(tmp_path / "b" / "e", domains | {"Math": (100, 0.8, 0.4)}, accuracy=0.8, overall=0.55)
    markdown, _ = pages(tmp_path / "a", tmp_path / "b")
    assert "b has the highest Overall, 55.0 %; whether that is a difference was not tested." in markdown
    assert "| b | 55.0 | 50.0 | 50.0 | 80.0 | 50.0 | 50.0 | 50.0 |" in markdown


def test_models_that_left_out_other_long_rows_are_compared_on_what_both_have(tmp_path):
    pairs = some_pairs(80)
    right = {side.id: float(side.id.endswith("chosen")) for pair in pairs for side in pair.conversations()}
    wrong = right | {f"p{n}:rejected": 2.0 for n in range(20)}
    write_evaluation(tmp_path / "a" / "e", pairs, right)
    kept = {name: reward for name, reward in wrong.items() if int(name[1:].split(":")[0]) < 44}
    write_evaluation(tmp_path / "b" / "e", pairs[:44], kept, left_out_long=36)
    markdown, _ = pages(tmp_path / "a", tmp_path / "b")
    assert re.search(r"\| a less b \| .* \| 44 of 80 \| \+45\.5 \| .* \| 20 \| 0 \| better \|", markdown)
    assert "has the highest accuracy" not in markdown


def write_two_runs(folder: Path, *hashes: str, shares: tuple[float, float]) -> str:
    """Runs a and b on files of one name; the comparison."""
    pairs = some_pairs(20)
    for name, digest, share in zip("ab", hashes, shares, strict=True):
        given = {"name": f"{name}/pairs.jsonl", "sha256": digest}
        write_evaluation(folder / name / "e", pairs, rewards_right_in(pairs, share, 1.0), input=given)
    return pages(folder / "a", folder / "b")[0]


def test_best_accuracy_is_of_runs_on_the_same_file(tmp_path):
    told = "b has the highest accuracy, 80.0 %"
    assert told in write_two_runs(tmp_path / "same", "1" * 64, "1" * 64, shares=(0.7, 0.8))
    assert "highest accuracy" not in write_two_runs(tmp_path / "other", "1" * 64, "2" * 64, shares=(0.7, 0.8))


def test_equal_accuracies_have_no_winner(tmp_path):
    markdown = write_two_runs(tmp_path, "1" * 64, "1" * 64, shares=(0.7, 0.7))
    assert "a, b have the same accuracy, 70.0 %, and none a higher one." in markdown
    assert "highest accuracy" not in markdown


def test_runs_of_one_name_are_told_apart(tmp_path):
    for seed in ("seed_1", "seed_2"):
        write_training(tmp_path / seed / "rm", tmp_path)
    markdown, _ = pages(tmp_path / "seed_1" / "rm", tmp_path / "seed_2" / "rm")
    assert "### seed_1/rm" in markdown and "### seed_2/rm" in markdown


@pytest.mark.parametrize("name", [r"a$\x^$", "one $ alone"])
def test_any_name_of_a_run_stands_in_the_legend(name, pictures):
    rows = [{"kind": "train", "step": n, "loss": 1 / n} for n in (1, 2)]
    for runs in ({name: rows, "b": rows}, {name: rows}):
        picture = drawing.training_picture(runs, "t")
        assert len(runs) == 1 or f"<!-- {name} -->" in picture.svg


def test_any_name_of_a_run_stands_over_its_block(tmp_path):
    rows = [{"kind": "train", "step": n, "loss": 1 / n} for n in (1, 2)]
    draw_training({r"a$\x^$": rows, "b": rows}).savefig(tmp_path / "a.png")


# --- what is missing ---


def test_run_without_evaluation_says_that_nobody_knows(tmp_path):
    write_training(tmp_path / "r", tmp_path / "nowhere")
    markdown, _ = pages(tmp_path / "r")
    assert "Nobody knows yet: this run holds no evaluation." in markdown
    assert f"{tmp_path}/nowhere has no manifest.json that can be read here" in markdown
    assert "The run did not record its git commit." in markdown


def test_run_that_is_still_going_is_told(tmp_path):
    write_training(tmp_path / "r", tmp_path, steps=6, saved=4)
    assert "the last checkpoint is of step 4, so the run is still going or was stopped" in pages(tmp_path / "r")[0]


def test_extrapolated_checkpoint_says_what_it_is_made_of(tmp_path):
    made = {"extrapolated": {"weak": "runs/stage1", "strong": "runs/stage2", "alpha": 1.52}}
    write_json(tmp_path / "expo" / "hs2pref.json", made)
    markdown, _ = pages(tmp_path / "expo")
    assert "Not trained: this model is extrapolated from runs/stage1 through runs/stage2 with alpha 1.52." in markdown


def test_merged_adapters_are_told(tmp_path):
    write_json(tmp_path / "m" / "hs2pref.json", {"merged": {"adapter": "runs/lora", "base": "base", "step": 3}})
    assert "Not trained: this model is the adapters runs/lora merged into base." in pages(tmp_path / "m")[0]


def test_evaluation_without_its_pairs_has_no_pictures_and_says_so(run):
    (run / "evaluation" / "scored_pairs.jsonl").unlink()
    assert "No pictures and no examples: the folder has no scored_pairs.jsonl." in pages(run)[0]


def test_page_without_matplotlib_has_everything_but_pictures(run):
    markdown, _ = pages(run)
    assert markdown.count("No pictures: the package matplotlib is not installed") == 2
    assert "Worst-scored examples" in markdown and not list((run / "report").glob("*.png"))


def test_folder_that_is_no_run_names_the_runs_below(tmp_path):
    write_training(tmp_path / "out" / "stage1", tmp_path)
    with pytest.raises(DataError, match=r"out: no run; expected .*; there are runs below it, name those: .*stage1"):
        write_report([tmp_path / "out"])


@pytest.mark.parametrize("origins", [{"model": ("a", "b")}, {"scores": ("a.jsonl", "b.jsonl")}])
def test_evaluations_of_different_models_are_no_run_and_are_named(tmp_path, origins):
    ((key, values),) = origins.items()
    pairs = some_pairs(30)
    for value in values:
        place = tmp_path / "out" / value[0]
        write_evaluation(place, pairs, rewarded(pairs, by_quality), **{"model": None, key: value})
    with pytest.raises(DataError, match=r"out: its evaluations are of different models; name them .*out/a .*out/b$"):
        write_report([tmp_path / "out"])


def test_scores_of_one_model_on_two_files_are_one_model(tmp_path):
    pairs = some_pairs(30)
    for name in "ab":
        origin = {"model": None, "scores": f"{name}.jsonl", "input": {"name": name, "sha256": name * 64}}
        write_evaluation(tmp_path / "out" / name, pairs, rewarded(pairs, by_quality), **origin)
    assert "# Reward model out" in pages(tmp_path / "out")[0]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("summary.json", "{", r"summary.json: not JSON"),
        ("summary.json", '{"benchmark": "preferences", "pairs": 3}', "the document has no 'accuracy'; evaluate again"),
        ("scored_pairs.jsonl", '{"id": "a"}\n', r'scored_pairs.jsonl:1: no "chosen_reward"'),
    ],
)
def test_file_that_cannot_be_read_is_one_sentence(run, name, content, message):
    (run / "evaluation" / name).write_text(content)
    with pytest.raises(DataError, match=message):
        write_report([run])
    assert not (run / "report").exists()


def test_configuration_that_is_no_yaml_is_one_sentence(run):
    (run / "config.yaml").write_text("a: [")
    with pytest.raises(DataError, match=r"config.yaml:\d+: not plain YAML"):
        write_report([run])


def test_folder_of_someone_else_is_not_written_over(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    assert main(["report", str(run), "--out", str(tmp_path / "mine")]) == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_report_may_be_written_again(run, capsys):
    assert main(["report", str(run)]) == 0 == main(["report", str(run)])
    assert str(run / "report" / "report.html") in capsys.readouterr().out


def test_evaluation_outside_its_run_is_told_with_the_run_but_the_report_stays_with_it(run, tmp_path):
    pairs = some_pairs(30)
    model = str(run / "checkpoints" / "last")
    write_evaluation(tmp_path / "results" / "e", pairs, rewarded(pairs, by_quality), model=model)
    markdown, _ = pages(tmp_path / "results" / "e")
    assert "Nearest experiment: rm_stage2_scaled_bt" in markdown and "6 optimizer steps" in markdown
    assert (tmp_path / "results" / "e" / "report" / "report.md").is_file() and not (run / "report").exists()


def saved(folder: Path, step: int, weights: str = "") -> Identity:
    """The checkpoint in `folder` is now of this step; different ones have different weights."""
    write_json(folder / "hs2pref.json", {"step": step})
    (folder / "model_weights").mkdir(exist_ok=True)
    (folder / "model_weights" / "__0_0.distcp").write_text(weights or f"{step}")
    return identity_of(folder)


@pytest.fixture
def evaluated_last(run) -> Path:
    """A run whose one evaluation is of checkpoints/last at step 200."""
    last, pairs = run / "checkpoints" / "last", some_pairs()
    shutil.rmtree(run / "evaluation")
    rewards = rewarded(pairs, by_quality)
    write_evaluation(run / "evaluation", pairs, rewards, model=str(last), checkpoint=saved(last, 200))
    return run


def test_evaluation_of_an_earlier_step_answers_nothing_of_the_present_one(evaluated_last):
    assert "No answer" not in pages(evaluated_last)[0]
    saved(evaluated_last / "checkpoints" / "last", 400)
    told = "**No answer: evaluated at step 200, the checkpoint is now of step 400: evaluate again.**"
    assert told in pages(evaluated_last)[0]
    saved(evaluated_last / "checkpoints" / "last", 200, "trained otherwise")
    assert "**No answer: the model was changed after it was evaluated: evaluate again.**" in pages(evaluated_last)[0]


def test_evaluation_of_another_model_is_not_taken_for_the_runs(run, tmp_path):
    pairs = some_pairs(30)
    other = {"model": str(tmp_path / "hf"), "checkpoint": {"step": None, "weights": "ef" * 32}}
    shutil.rmtree(run / "evaluation")
    write_evaluation(run / "evaluation", pairs, rewarded(pairs, by_quality), **other)
    message = r"stage2/evaluation: an evaluation of .*hf, which is no checkpoint of .*stage2 as it is now"
    with pytest.raises(DataError, match=message):
        write_report([run])


def test_run_that_was_moved_keeps_its_evaluation_and_a_copy_is_not_told_of_the_original(evaluated_last, tmp_path):
    copy = shutil.copytree(evaluated_last, tmp_path / "copy")
    saved(evaluated_last / "checkpoints" / "last", 400)
    assert "No answer" not in pages(copy)[0]
    shutil.rmtree(evaluated_last)
    assert "No answer" not in pages(copy)[0]
    shutil.rmtree(copy / "checkpoints" / "last" / "model_weights")  # as where only small files were copied
    assert "No answer" not in pages(copy)[0]
    saved(copy / "checkpoints" / "last", 600)
    with pytest.raises(DataError, match=r"no checkpoint of .*copy as it is now; evaluate again"):
        write_report([copy])


def test_evaluations_of_two_states_of_one_checkpoint_are_of_different_models(evaluated_last):
    last, pairs = evaluated_last / "checkpoints" / "last", some_pairs(30)
    later = {"model": str(last), "checkpoint": saved(last, 400), "input": {"name": "b"}}
    write_evaluation(evaluated_last / "later", pairs, rewarded(pairs, by_quality), **later)
    with pytest.raises(DataError, match="its evaluations are of different models"):
        write_report([evaluated_last])


def test_model_that_is_no_checkpoint_of_ours_tells_nothing_of_its_folder(tmp_path):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.yaml").write_text("somebody: else")
    pairs = some_pairs(30)
    write_evaluation(tmp_path / "e", pairs, rewarded(pairs, by_quality), model=str(tmp_path / "hf"))
    assert "No config.yaml in this folder." in pages(tmp_path / "e")[0]


# --- the formats ---


class Loads(HTMLParser):
    """What a page refers to, and the elements that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.places += [value for name, value in attributes if name in ("src", "href", "xlink:href", "srcset", "data")]


@pytest.fixture
def hostile(tmp_path) -> Path:
    """An evaluation whose texts, ids and groups would break a page that does not escape them."""
    pairs = some_pairs(40)
    pairs[0] = PreferencePair(f"id {HOSTILE[:30]}", (Message("user", HOSTILE),), HOSTILE, HOSTILE * 900, subset=HOSTILE)
    rewards = rewarded(pairs, by_quality) | {f"{pairs[0].id}:chosen": -5.0, f"{pairs[0].id}:rejected": 5.0}
    group = {"pairs": 1, "accuracy": 0.5}
    write_evaluation(tmp_path / "e", pairs, rewards, by_page={HOSTILE: group, "a|b": group})
    return tmp_path / "e"


def test_page_loads_nothing_and_runs_nothing(hostile, pictures):
    html = (write_report([hostile]) / "report.html").read_text()
    loads = Loads()
    loads.feed(html)
    assert "svg" in loads.tags
    assert not loads.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert all(place.startswith(("#", "data:image/png")) for place in loads.places)
    assert "@import" not in html and not re.search(r"url\((?!#)", html)
    assert "default-src 'none'" in html


def test_hostile_text_is_text(hostile):
    _, html = pages(hostile)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; ]]&gt; &lt;/div&gt;" in html
    assert "<script" not in html and not set("\x00\x1b\u202e") & {*html}
    assert "\U0001f600" in html and "&amp;amp;" in html and "$title" in html


def test_long_text_is_folded_and_cut_with_a_count(hostile):
    markdown, html = pages(hostile)
    assert re.search(r'<details class="rest"><summary>19,4\d\d more characters</summary>', html)
    whole = len(HOSTILE) * 900
    assert f"{whole - 20_000:,} characters are left out here" in markdown
    assert len(html) < 250_000


def test_markdown_tables_have_as_many_cells_in_every_row(hostile, run):
    for folder in (hostile, run):
        markdown, _ = pages(folder)
        rows = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
        blocks = re.findall(r"(?:^\|.*\|\n)+", rows, flags=re.MULTILINE)
        assert len(blocks) > 3
        for block in blocks:
            lines = block.splitlines()
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, block
            assert re.fullmatch(r"\|( :?--:? \|)+", lines[1])


def test_markdown_names_only_pictures_that_are_there(run, pictures):
    folder = write_report([run])
    named = set(re.findall(r"^!\[.*\]\((.*)\)$", (folder / "report.md").read_text(), flags=re.MULTILINE))
    assert named == {path.name for path in folder.glob("*.png")} and len(named) == 5


def test_what_no_page_can_hold_has_a_mark_in_its_place():
    assert printable("a\x00b\ud800c\u202e\r\nd\te") == r"a\x00b\ud800c\u202e" "\nd\te"


def test_fence_is_longer_than_any_in_the_text():
    assert fenced("a ```` b").splitlines()[0] == "`````text"


def test_markdown_of_a_text_is_a_line_without_markup():
    assert text("- a_b _c_ <b>\n|x|") == r"\- a_b \_c\_ \<b\> \|x\|"


def test_equal_runs_give_equal_bytes(run, tmp_path, pictures):
    contents = [
        {path.name: path.read_bytes() for path in write_report([run], tmp_path / name).iterdir()} for name in "ab"
    ]
    assert contents[0] == contents[1]
