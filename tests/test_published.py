"""What the papers print: the arithmetic of their tables holds, and the goodness of their models is theirs."""

import json

import pytest

from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.goodness import GOODNESS, goodness
from nemo_hs2pref.evaluation.published import (
    CHAT_HARD_SUBSETS,
    HELPSTEER2,
    OTHERS,
    PREFERENCE,
    PUBLISHED,
    Published,
    PublishedSubsets,
)
from nemo_hs2pref.evaluation.rewardbench import section_scores

ROWS = [*PUBLISHED.values(), *OTHERS]
# Printed to 0.1, so each of the five figures is off by up to 0.05; the mean of four is too, and the difference of that
# and the fifth by up to 0.1. The loosest row (from scratch, Scaled) is off by 0.075.
ROUNDING = 0.1 + 1e-9


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.model} ({row.source})")
def test_overall_is_the_mean_of_the_sections_to_rounding(row: Published) -> None:
    overall, *sections = row.scores
    assert overall == pytest.approx(sum(sections) / 4, abs=ROUNDING)


@pytest.mark.parametrize("row", CHAT_HARD_SUBSETS, ids=lambda row: row.model)
def test_chat_hard_is_made_of_the_printed_subsets(row: PublishedSubsets) -> None:
    assert section_scores(row.subsets) == {"Chat Hard": pytest.approx(row.chat_hard, abs=ROUNDING)}


def test_both_tables_are_whole_and_no_row_stands_twice() -> None:
    assert len({(row.model, row.source) for row in ROWS}) == len(ROWS)
    assert [sum(row.source == table for row in ROWS) for table in (PREFERENCE, HELPSTEER2)] == [21, 19]
    assert sum(row.prior_sets is not None for row in ROWS) == 16  # of HelpSteer2's 19, three have a dash


def test_the_card_of_the_data_set_prints_the_same_numbers(shared_data) -> None:
    """Its names are not quite the paper's; its numbers are."""
    card = json.loads((shared_data / "rewardbench-published-scores" / "helpsteer2_card_tables.json").read_text())
    rows = {row.scores for row in ROWS if row.source == PREFERENCE}
    for row in card["category_table"]:
        assert tuple(row[key] for key in ("overall", "chat", "chat_hard", "safety", "reasoning")) in rows
    subsets = [{"model": row.model, "chat_hard": row.chat_hard, **row.subsets} for row in CHAT_HARD_SUBSETS]
    assert card["chat_hard_subsets"] == subsets


# --- goodness ---

RATED = {"helpfulness": 4.0, "correctness": 3.0, "coherence": 2.0, "complexity": 1.0, "verbosity": 10.0, "humor": 9.0}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nemotron-4-340b", 0.3 * 4 + 0.74 * 3 + 0.46 * 2 + 0.47 * 1 - 0.33 * 10),
        ("llama3-70b", 0.65 * 4 + 0.8 * 3 + 0.45 * 2 + 0.55 * 1 - 0.4 * 10),
        ("helpfulness", 4.0),
    ],
)
def test_goodness_weighs_the_attributes_as_the_papers_do(name: str, expected: float) -> None:
    assert goodness(RATED, GOODNESS[name]) == pytest.approx(expected, abs=1e-12)


def test_goodness_of_a_part_of_the_attributes_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"no coherence, verbosity among the attributes \(helpfulness, correctness, com"
    ):
        goodness({"helpfulness": 1.0, "correctness": 1.0, "complexity": 1.0}, GOODNESS["llama3-70b"])
