"""The reward model on the real classes, against the faults of Aligner 0.7.0 that docs/aligner-faults.md numbers."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

WORKER = Path(__file__).parent / "model_worker.py"
HELPFULNESS = 4


@pytest.fixture(scope="module")
def facts(llama_tiny: Path, sample: Path, launch: Callable[..., str]) -> dict[str, Any]:
    return json.loads(launch(WORKER, llama_tiny, sample).splitlines()[-1])


def by_hand(pairs: Mapping[str, Any], formula: Callable[[float, int], float], slot: int = HELPFULNESS) -> float:
    """Mean over pairs of formula(gap, strength), in Python's float64."""
    gaps = [c[slot] - r[slot] for c, r in zip(pairs["chosen"], pairs["rejected"], strict=True)]
    return math.fsum(formula(gap, m) for gap, m in zip(gaps, pairs["strength"], strict=True)) / len(gaps)


def softplus(x: float) -> float:
    """-log(sigmoid(-x))"""
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


PAIR_LOSSES: dict[str, Callable[[float, int], float]] = {
    "regular_bt": lambda gap, m: softplus(-gap),
    "margin_bt": lambda gap, m: softplus(m - gap),
    "scaled_bt": lambda gap, m: m * softplus(-gap),
}


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_the_configured_pair_loss_is_the_one_computed(name: str, facts: dict[str, Any]) -> None:
    """Fault 1: Aligner's documented key selects nothing, and the run trains MSE against the strength."""
    assert facts["losses"][name] == pytest.approx(by_hand(facts["compared"], PAIR_LOSSES[name]), rel=1e-5)


def test_the_configured_regression_is_the_one_computed(facts: dict[str, Any]) -> None:
    rated = facts["rated"]
    squares = [
        (value - target) ** 2
        for row, targets in zip(rated["attributes"], rated["targets"], strict=True)
        for value, target in zip(row, targets, strict=True)
        if target != -100
    ]
    assert len(squares) == 4 * 5  # the four slots that HelpSteer2 does not rate are masked
    assert facts["losses"]["regression"] == pytest.approx(math.fsum(squares) / len(squares), rel=1e-5)


def test_losses_differ_from_each_other(facts: dict[str, Any]) -> None:
    """Or the comparison above would prove little."""
    assert len({round(loss, 4) for loss in facts["losses"].values()}) == 4


def test_no_pair_of_a_micro_batch_is_dropped(facts: dict[str, Any]) -> None:
    """Faults 2 and 3: Aligner reads rows 0 and 1 of a micro batch; its guard against larger ones never fires."""
    losses = list(facts["micro_batch"].values())
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-6)


def test_padding_changes_nothing(facts: dict[str, Any]) -> None:
    """Fault 6: batches are padded to their longest row; more padding gives the same loss."""
    assert facts["padded"] == pytest.approx(facts["losses"]["scaled_bt"], rel=1e-5)


def test_any_slot_can_be_the_reward(facts: dict[str, Any]) -> None:
    """Fault 3: Aligner has slot 4 written out."""
    expected = by_hand(facts["compared"], PAIR_LOSSES["scaled_bt"], slot=5)
    assert facts["other_slot"] == pytest.approx(expected, rel=1e-5)
    assert facts["other_slot"] != pytest.approx(facts["losses"]["scaled_bt"], rel=1e-3)


def test_validation_covers_the_last_partial_batch(facts: dict[str, Any]) -> None:
    """Fault 5: Aligner drops the last batch, or fails with a KeyError when told to keep it."""
    pairs = facts["validation_pairs"]
    assert len(pairs["strength"]) == 10
    assert facts["validation"]["val_loss"] == pytest.approx(by_hand(pairs, PAIR_LOSSES["scaled_bt"]), rel=1e-5)
    gaps = [c[HELPFULNESS] - r[HELPFULNESS] for c, r in zip(pairs["chosen"], pairs["rejected"], strict=True)]
    assert facts["validation"]["val_accuracy"] == sum(gap > 0 for gap in gaps) / 10
    rewards = [row[HELPFULNESS] for row in pairs["chosen"] + pairs["rejected"]]
    mean = math.fsum(rewards) / 20
    std = math.sqrt(math.fsum((reward - mean) ** 2 for reward in rewards) / 20)
    assert facts["validation"]["val_reward_mean"] == pytest.approx(mean, rel=1e-5)
    assert facts["validation"]["val_reward_std"] == pytest.approx(std, rel=1e-4)


def test_a_rank_without_rows_takes_part_with_zeros(facts: dict[str, Any]) -> None:
    assert set(facts["empty"].values()) == {0}
    assert "loss" in facts["empty"]
