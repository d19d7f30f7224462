"""The speed comparison refuses sides that compute something else, and divides what its table says."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


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
