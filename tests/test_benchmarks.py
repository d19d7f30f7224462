"""The speed comparison refuses sides that compute something else, and divides what its table says."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nemo_hs2pref.data.records import Conversation, Message
from nemo_hs2pref.evaluation.scores import Score


@pytest.fixture
def rm_step(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import rm_step  # pyright: ignore[reportMissingImports] a script's folder

    return rm_step


def run(loss: float, seconds: float, tokens: int = 100) -> dict[str, Any]:
    """One process: a warm-up step, which no figure counts, and a measured one."""
    step = {"loss": loss, "tokens": tokens, "positions": 128, "seconds": seconds}
    step |= {"user_s": 1.0, "system_s": 0.5, "other_cores": 0.0}
    return {"steps": [step | {"seconds": 1000.0}, step], "peak_rss": 3 * 2**30, "rss_before": 2**30}


def test_speed_is_real_tokens_over_measured_seconds(rm_step: ModuleType) -> None:
    table = rm_step.table({"stock": [run(2.0, 40.0)], "ours": [run(2.0, 4.0), run(2.0, 5.0)]})
    ours = [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]
    assert ours[:4] == ["ours", "4.50 [4.00 to 5.00]", "22 [20 to 25]", "9.0"]


def test_sides_with_other_losses_are_not_compared(rm_step: ModuleType) -> None:
    with pytest.raises(SystemExit, match="step 1: ours and stock have other losses"):
        rm_step.compare_losses({"stock": [run(2.0, 1.0)], "ours": [run(2.001, 1.0)]})
    assert "2.000010" in rm_step.compare_losses({"stock": [run(2.0, 1.0)], "ours": [run(2.00001, 1.0)]})


def test_sides_with_other_rows_are_not_compared(rm_step: ModuleType) -> None:
    with pytest.raises(SystemExit, match="other rows: 99 and 100 tokens"):
        rm_step.compare_losses({"stock": [run(2.0, 1.0)], "ours": [run(2.0, 1.0, tokens=99)]})


@pytest.fixture
def score_rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import score_rows  # pyright: ignore[reportMissingImports] a script's folder

    return score_rows


def test_scoring_rate_is_rows_over_median_seconds(score_rows: ModuleType) -> None:
    rows = [Conversation(str(n), (Message("user", "same" if n < 2 else "other"),)) for n in range(3)]
    runs = {"plain": [(6.0, 9.0)], "ours": [(2.0, 3.0), (1.0, 3.0), (3.0, 3.0)]}
    first, *_, ours = score_rows.table(runs, rows).splitlines()
    assert first == "3 rows, 2 of them different"
    assert [cell.strip() for cell in ours.strip("|").split("|")] == [
        "ours",
        "1.50 [1.00 to 3.00]",
        "3.00",
        "3.0",
        "3.00",
    ]


def test_ways_with_other_rewards_are_not_compared(score_rows: ModuleType) -> None:
    score_rows.refuse_other_rewards([1.0], [Score("a", 1.00005)])
    with pytest.raises(SystemExit, match=r"differ by up to 0\.001"):
        score_rows.refuse_other_rewards([1.0], [Score("a", 1.001)])
