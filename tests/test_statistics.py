"""What a data set says as a whole: against hand values, numpy, and the released rows."""

import json
import math
import pickle
import sys
from random import Random

import numpy as np
import pytest

from nemo_hs2pref.data.aggregation import preference_panel
from nemo_hs2pref.data.formats.annotated_tasks import found_in_task
from nemo_hs2pref.data.formats.annotations import parse_task
from nemo_hs2pref.data.groups import Dropped, Kept, Panel
from nemo_hs2pref.data.records import HELPSTEER_ATTRIBUTES, Message, PreferencePair, RatedResponse
from nemo_hs2pref.data.statistics.statistics import Statistics
from nemo_hs2pref.data.statistics.table import PAPER_KAPPA, PAPER_RATINGS, table

PROMPT = (Message("user", "Why?"),)


def statistics_of(*things):
    statistics = Statistics()
    for thing in things:
        statistics.add(thing)
    return statistics.to_json()


def rating(prompt=PROMPT, response="Because.", **attributes):
    record = RatedResponse("r", (*prompt, Message("assistant", response)), attributes)
    return Kept("ratings", "train", (record,))


def pair(signed, first=None, second=None, **changes):
    """A pair of signed strength, above 0 for response 2, whose helpfulness is `first` and `second`."""
    ratings = [{} if helpfulness is None else {"helpfulness": helpfulness} for helpfulness in (first, second)]
    position = 2 if signed > 0 else 1
    values = {"strength": abs(signed), "chosen_position": position, **changes}
    sides = {"chosen_attributes": ratings[position - 1], "rejected_attributes": ratings[2 - position]}
    return Kept("pairs", "train", (PreferencePair("p", PROMPT, "a", "b", **values, **sides),))


def panel(values, kept=None, question="helpfulness", result=None, released=None):
    return Panel(question, tuple(values), None if kept is None else tuple(kept), result, released)


# Ratings


def test_ratings_have_mean_deviation_and_correlation_by_hand():
    values = statistics_of(*(rating(helpfulness=h, verbosity=v) for h, v in [(0, 2), (2, 1), (4, 3)]))["ratings"]
    assert values["responses"] == 3
    helpfulness, verbosity = values["fields"]["helpfulness"], values["fields"]["verbosity"]
    assert helpfulness == {
        "mean": 2,
        "std": pytest.approx(math.sqrt(8 / 3)),
        "pearson": pytest.approx(1),
        "counts": {"0": 1, "2": 1, "4": 1},
    }
    assert verbosity["pearson"] == pytest.approx(0.5)  # deviations (-2, 0, 2) and (0, -1, 1): 2 / sqrt(8 * 2)


def test_lengths_are_messages_and_characters_of_the_prompt_and_characters_of_the_response():
    turns = (Message("user", "Why?"), Message("assistant", "What?"), Message("user", "It."))
    fields = statistics_of(rating(turns, "Because.", helpfulness=3))["ratings"]["fields"]
    means = {name: field["mean"] for name, field in fields.items() if name != "helpfulness"}
    assert means == {"turns_in_prompt": 3, "prompt_characters": 12, "response_characters": 8}


def test_ratings_agree_with_numpy():
    random = Random(0)
    rows = [
        {name: random.randint(0, 4) for name in HELPSTEER_ATTRIBUTES} | {"length": random.randint(1, 5000)}
        for _ in range(500)
    ]
    fields = statistics_of(*(rating(response="x" * row.pop("length"), **row) for row in map(dict, rows)))["ratings"][
        "fields"
    ]
    columns = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}
    for name, column in columns.items():
        field = fields["response_characters" if name == "length" else name]
        expected = (column.mean(), column.std(), np.corrcoef(column, columns["helpfulness"])[0, 1])
        assert (field["mean"], field["std"], field["pearson"]) == pytest.approx(expected, rel=1e-12)


def test_sums_of_many_rows_lose_nothing():
    """Long texts, many rows: a sum of squares in floating point would lose the variance."""
    statistics = Statistics()
    records = [
        RatedResponse("r", (Message("user", "x" * n), Message("assistant", "a")), {"helpfulness": n % 2})
        for n in (10**6, 10**6 + 1)
    ]
    for _ in range(1000):
        statistics.add(Kept("ratings", "train", tuple(records)))
    field = statistics.to_json()["ratings"]["fields"]["prompt_characters"]
    assert (field["std"], field["pearson"]) == (0.5, pytest.approx(1, abs=1e-15))


# Preferences


def test_preferences_are_counted_with_their_side():
    things = [pair(-3), pair(1), pair(2), pair(2), Dropped("pairs", "train", "tie", "f:1")]
    values = statistics_of(*things, Dropped("ratings", "train", "disagreement", "f:2"))["preferences"]
    assert (values["pairs"], values["ties"]) == (4, 1)
    assert values["strengths"] == {"-3": 1, "-2": 0, "-1": 0, "1": 1, "2": 2, "3": 0}
    assert (values["mean_strength"], values["share_for_response_2"]) == (0.5, 0.75)
    assert (values["rated_pairs"], values["pearson"]) == (0, None)


def test_helpfulness_differences_are_response_2_less_response_1():
    values = statistics_of(pair(-2, 4, 1), pair(-2, 3, 2), pair(1, 2, 3), pair(3))["preferences"]
    assert values["rated_pairs"] == 3
    assert values["by_strength"]["-2"] == {"mean_difference": -2, "counts": {"-3": 1, "-1": 1}}
    assert values["by_strength"]["1"] == {"mean_difference": 1, "counts": {"1": 1}}
    assert values["by_strength"]["3"] == {"mean_difference": None, "counts": {}}
    assert values["mean_difference"] == -1
    # strengths less their mean (-1, -1, 2), differences (-2, 0, 2): 6 / sqrt(6 * 8)
    assert values["pearson"] == pytest.approx(math.sqrt(3) / 2)


def test_pairs_without_strength_or_position_are_counted_alone():
    values = statistics_of(pair(1, strength=None), pair(1, chosen_position=None), pair(1, strength=0))["preferences"]
    assert (values["pairs"], values["ties"], values["mean_strength"]) == (2, 1, None)
    assert not any(values["strengths"].values())


def test_real_pairs_correlate_with_their_ratings(shared_data):
    path = shared_data / "helpsteer2-samples" / "numeric_57_pairs.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    things = [
        pair(row["preference_strength"], *(row[f"attributes_{side}"]["helpfulness"] for side in (1, 2)))
        if row["preference_strength"]
        else Dropped("pairs", "train", "tie", "f:1")
        for row in rows
    ]
    values = statistics_of(*things)["preferences"]
    assert len(rows) == values["pairs"] + values["ties"] == 57
    decided = [row for row in rows if row["preference_strength"]]
    strengths = np.array([row["preference_strength"] for row in decided], dtype=np.float64)
    gaps = np.array([row["attributes_2"]["helpfulness"] - row["attributes_1"]["helpfulness"] for row in decided])
    assert values["rated_pairs"] == len(decided)
    assert values["pearson"] == pytest.approx(np.corrcoef(strengths, gaps)[0, 1], rel=1e-12)
    assert values["pearson"] == pytest.approx(0.9024, abs=0.06)  # the paper's, of all 7,118
    assert values["mean_strength"] == pytest.approx(strengths.mean())
    assert values["mean_difference"] == pytest.approx(gaps.mean())


# Agreement


def kappas(*panels):
    (found,) = statistics_of(*panels)["agreement"]["questions"].values()
    return found["kappa_before"], found["kappa_after"]


def test_kappa_pools_all_ordered_pairs_of_a_task_by_hand():
    # Pairs (1, 1), (1, 2), (1, 2), in both orders: the mean square is 2/3. Both raters say 1 in 2/3 of them and 2 in
    # 1/3, by chance the mean square would be 2 * 2/3 * 1/3 = 4/9.
    assert kappas(panel([1, 1, 2], kept=[1, 1, 2])) == pytest.approx((-0.5, -0.5))


def test_answer_of_an_invalid_task_is_in_no_pair():
    assert kappas(panel([1, -100, 1, 2])) == kappas(panel([1, 1, 2]))


def test_kappa_of_the_kept_three_leaves_the_others_and_the_dropped_tasks_out():
    # Of the kept: squares 0, 0, 0, 0, 1, 1, mean 1/3; 0 and 4 and 3 in 3/6, 2/6, 1/6, variance 125/36
    panels = [panel([0, 0, 0, 4], kept=[0, 0, 0]), panel([4, 4, 3, -100], kept=[4, 4, 3]), panel([0, 4, 1])]
    before, after = kappas(*panels)
    assert after == pytest.approx(1 - (1 / 3) / (2 * 125 / 36))
    assert before < after


def test_kappa_takes_minus_1_and_1_as_two_apart():
    # Squares 0, 4, 4 and 1, 1, 0: mean 5/3; values -1, -1, 1, 1, 2, 2: variance 14/9. With -1 and 1 side by side as
    # ranks it would be 1/2.
    panels = [panel([-1, -1, 1], question="preference"), panel([1, 2, 2], question="preference")]
    assert kappas(*panels)[0] == pytest.approx(1 - (5 / 3) / (28 / 9)) == pytest.approx(13 / 28)


def test_kappa_agrees_with_the_variances():
    """For raters of equal distribution: 1 less the mean square over twice the variance."""
    random = Random(1)
    panels = [[random.randint(0, 4) for _ in range(random.choice([3, 4, 5]))] for _ in range(200)]
    pairs = np.array(
        [(p[i], p[j]) for p in panels for i in range(len(p)) for j in range(len(p)) if i != j], dtype=float
    )
    expected = 1 - np.mean((pairs[:, 0] - pairs[:, 1]) ** 2) / (2 * pairs[:, 0].var())
    assert kappas(*map(panel, panels))[0] == pytest.approx(expected)


def test_full_agreement_has_kappa_1_and_one_answer_alone_has_none():
    assert kappas(panel([0, 0, 0], kept=[0, 0, 0]), panel([4, 4, 4])) == (1, None)


def test_kappa_is_left_out_where_scikit_learn_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    values = statistics_of(panel([0, 1, 2], kept=[0, 1, 2]))
    assert values["agreement"]["kappa_by"] is None
    assert values["agreement"]["questions"]["helpfulness"]["kappa_before"] is None
    assert "kappa: not computed, for scikit-learn is not installed" in table(values, published=False)


def test_released_panels_are_reproduced(shared_data):
    path = shared_data / "helpsteer2-samples" / "raw_panels_vs_official_strength.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    things = [preference_panel(row["raw_strengths"], released=row["preference_strength"]) for row in rows]
    values = statistics_of(*things)["agreement"]["questions"]["preference"]
    assert (values["released_same"], values["released_different"]) == (7, 0)
    assert (values["panels"], values["annotations"], values["kept"]) == (7, 25, 7)


def test_released_result_that_is_not_ours_is_counted():
    things = [preference_panel([1, 1, 1], released=2), preference_panel([-3, 1, 3], released=0), panel([1, 1, 1])]
    values = statistics_of(*things)["agreement"]["questions"]
    assert (values["preference"]["released_same"], values["preference"]["released_different"]) == (0, 2)
    assert (values["helpfulness"]["released_same"], values["helpfulness"]["released_different"]) == (0, 0)


# As a whole


def random_task(random):
    def ratings():
        return {name: random.randint(0, 4) for name in HELPSTEER_ATTRIBUTES}

    annotations = [
        {"ratings_1": ratings(), "ratings_2": ratings(), "preference": random.choice([-3, -2, -1, 1, 2, 3, -100])}
        for _ in range(random.choice([3, 4, 5]))
    ]
    texts = {"prompt": "a", "response_1": "b" * random.randint(1, 999), "response_2": "c"}
    return parse_task({"id": "t", **texts, "annotations": annotations})


def test_memory_does_not_grow_with_the_input():
    random, statistics, sizes = Random(2), Statistics(), []
    for number in range(1, 6001):
        for thing in found_in_task(random_task(random), "train", "f:1"):
            statistics.add(thing)
        if number in (2000, 6000):
            sizes.append(len(pickle.dumps(statistics)))
    assert sizes[1] < 1.05 * sizes[0]  # three times the counts have a few more digits


@pytest.mark.parametrize(
    "things",
    [
        [],
        [rating(helpfulness=3)],
        [rating(quality=3), rating(quality=1)],  # Open Assistant's: no helpfulness
        [pair(1)],
        [pair(1, 2, 2), pair(1, 2, 2)],
        [panel([-100, -100, 2])],
    ],
)
@pytest.mark.parametrize("published", [False, True])
def test_what_cannot_be_computed_is_null_and_a_dash(things, published):
    values = statistics_of(*things)
    json.dumps(values, allow_nan=False)
    text = table(values, published=published)
    assert "nan" not in text.lower() and "None" not in text
    assert bool(text) == bool(things)


def test_table_shows_the_paper_beside_its_own_data_alone():
    things = [rating(helpfulness=3), rating(helpfulness=2), pair(1, 2, 4), panel([3, 3, 2], kept=[3, 3, 2])]
    published, own = (table(statistics_of(*things), published=published) for published in (True, False))
    for figure in ("2.8655", "1.2703", "0.9024", "0.465", "0.706", "0.791"):
        assert figure in published and figure not in own
    assert "helpfulness" in own and "2.5000" in own
    sections = published.split("\n\n")
    assert len(sections) == 3
    widths = {len(line) for line in sections[0].splitlines()}
    assert len(widths) == 1  # aligned


def test_paper_figures_cover_all_that_the_paper_rated():
    assert set(HELPSTEER_ATTRIBUTES) < set(PAPER_RATINGS)
    assert set(PAPER_KAPPA) == {"preference", *HELPSTEER_ATTRIBUTES}
