"""The pictures of a data set."""

import copy
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from nemo_hs2pref.data.formats.annotated_tasks import found_in_task
from nemo_hs2pref.data.formats.annotations import parse_task
from nemo_hs2pref.data.groups import Kept
from nemo_hs2pref.data.records import Message, PreferencePair
from nemo_hs2pref.data.statistics.statistics import Statistics
from nemo_hs2pref.plots.statistics import plot_statistics

RATINGS = [{"helpfulness": 3}, {"helpfulness": 3}, {"helpfulness": 2}]


def statistics_of(*preferences: int) -> dict:
    """Of tasks whose three annotators all have the same preference, and rate response 1 with 3, 3 and 2."""
    statistics = Statistics()
    for preference in preferences:
        annotations = [
            {"ratings_1": rating, "ratings_2": {"helpfulness": 1}, "preference": preference} for rating in RATINGS
        ]
        texts = {"id": "a", "prompt": "b", "response_1": "c", "response_2": "d"}
        for found in found_in_task(parse_task({**texts, "annotations": annotations}), "train", "f:1"):
            statistics.add(found)
    return statistics.to_json()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The panels of the picture, which would be closed."""
    axes: list[Axes] = []
    monkeypatch.setattr(plt, "close", lambda figure: axes.extend(figure.axes))
    return axes


def test_panels_show_strengths_differences_ratings_and_agreement(tmp_path: Path, drawn: list[Axes]) -> None:
    plot_statistics(statistics_of(-2, -2, 1), tmp_path / "s.png", published=True)
    strengths, differences, ratings, kappas = drawn
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in strengths.patches}
    assert heights == {-3: 0, -2: 2, -1: 0, 1: 1, 2: 0, 3: 0}
    means = next(line for line in differences.lines if line.get_label() == "mean")
    assert [list(point) for point in means.get_xydata()] == [[-2, -2], [1, -2]]
    assert sum(bar.get_width() for bar in ratings.patches) == pytest.approx(1)
    assert [text.get_text() for text in kappas.get_yticklabels()] == ["preference", "helpfulness"]
    assert "the paper's" in [text.get_text() for text in kappas.get_legend().get_texts()]


def test_nothing_is_drawn_of_nothing(tmp_path: Path, drawn: list[Axes]) -> None:
    assert not plot_statistics(Statistics().to_json(), tmp_path / "empty.png", published=False)
    assert not drawn and not list(tmp_path.iterdir())


def test_strengths_without_positions_are_drawn_alone(tmp_path: Path, drawn: list[Axes]) -> None:
    statistics = Statistics()
    pairs = tuple(PreferencePair(f"{n}", (Message("user", "Hi"),), "a", "b", strength=n) for n in (1, 1, 3))
    statistics.add(Kept("pairs", "train", pairs))
    assert plot_statistics(statistics.to_json(), tmp_path / "s.png", published=False)
    assert [axis.axison for axis in drawn] == [True, False, False, False]
    assert [patch.get_height() for patch in drawn[0].patches] == [2, 0, 1]


def test_kappa_that_cannot_be_computed_is_not_drawn(tmp_path: Path, drawn: list[Axes]) -> None:
    statistics = copy.deepcopy(statistics_of(-2, 1))
    for found in statistics["agreement"]["questions"].values():
        found["kappa_before"] = found["kappa_after"] = None
    plot_statistics(statistics, tmp_path / "s.png", published=True)
    assert [axis.axison for axis in drawn] == [True, True, True, False]
