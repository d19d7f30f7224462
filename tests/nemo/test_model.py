"""The reward model on the real classes, against the faults of Aligner 0.7.0 that docs/aligner-faults.md numbers."""

import json
import math
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

WORKER = Path(__file__).parent / "model_worker.py"
HELPFULNESS = 4
IGNORED = -100


@pytest.fixture(scope="module")
def facts(llama_tiny: Path, sample: Path, launch: Callable[..., str]) -> dict[str, Any]:
    return json.loads(launch(WORKER, llama_tiny, sample).splitlines()[-1])


def by_hand(pairs: Mapping[str, Any], formula: Callable[[float, int], float], slot: int = HELPFULNESS) -> float:
    """Mean over pairs of formula(gap, strength), in Python's float64."""
    gaps = [c[slot] - r[slot] for c, r in zip(pairs["chosen"], pairs["rejected"], strict=True)]
    return math.fsum(formula(gap, m) for gap, m in zip(gaps, pairs["strength"], strict=True)) / len(gaps)


def squared_error(attributes: list[list[float]], targets: list[list[float]]) -> float:
    """Mean over the rated cells."""
    squares = [
        (value - target) ** 2
        for row, wanted in zip(attributes, targets, strict=True)
        for value, target in zip(row, wanted, strict=True)
        if target != IGNORED
    ]
    return math.fsum(squares) / len(squares)


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
    targets = [target for row in rated["targets"] for target in row if target != IGNORED]
    assert len(targets) == 4 * 5  # the four slots that HelpSteer2 does not rate are masked
    expected = squared_error(rated["attributes"], rated["targets"])
    assert facts["losses"]["regression"] == pytest.approx(expected, rel=1e-5)


def test_losses_differ_from_each_other(facts: dict[str, Any]) -> None:
    """Or the comparison above would prove little."""
    assert len({round(loss, 4) for loss in facts["losses"].values()}) == 5


def test_the_combined_loss_is_the_sum_of_regression_and_scaled_bt_on_the_same_pairs(facts: dict[str, Any]) -> None:
    pairs = facts["compared"]
    rows = [row for both in zip(pairs["chosen"], pairs["rejected"], strict=True) for row in both]
    expected = squared_error(rows, pairs["targets"]) + by_hand(pairs, PAIR_LOSSES["scaled_bt"])
    assert facts["losses"]["combined"] == pytest.approx(expected, rel=1e-5)


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
    validation = facts["validation"]
    assert validation["val_pairs_loss"] == pytest.approx(by_hand(pairs, PAIR_LOSSES["scaled_bt"]), rel=1e-5)
    gaps = [c[HELPFULNESS] - r[HELPFULNESS] for c, r in zip(pairs["chosen"], pairs["rejected"], strict=True)]
    assert validation["val_pairs_accuracy"] == sum(gap > 0 for gap in gaps) / 10
    for strength in set(pairs["strength"]):
        wins = [gap > 0 for gap, m in zip(gaps, pairs["strength"], strict=True) if m == strength]
        assert validation[f"val_pairs_accuracy_strength_{strength}"] == pytest.approx(sum(wins) / len(wins))
    rewards = [row[HELPFULNESS] for both in zip(pairs["chosen"], pairs["rejected"], strict=True) for row in both]
    assert validation["val_pairs_reward_mean"] == pytest.approx(statistics.fmean(rewards), rel=1e-5)
    assert validation["val_pairs_reward_std"] == pytest.approx(statistics.pstdev(rewards), rel=1e-4)
    correlation = statistics.correlation(rewards, pairs["characters"])
    assert validation["val_pairs_reward_length_correlation"] == pytest.approx(correlation, abs=1e-4)


def test_every_validation_set_is_measured_whatever_the_loss(facts: dict[str, Any]) -> None:
    """A scaled Bradley-Terry run on held-out ratings: the error and correlation of each attribute, but no loss."""
    rated, validation = facts["validation_ratings"], facts["validation"]
    outputs, targets = ([row[HELPFULNESS] for row in rated[key]] for key in ("attributes", "targets"))
    mse = statistics.fmean((x - y) ** 2 for x, y in zip(outputs, targets, strict=True))
    assert validation["val_ratings_mse_helpfulness"] == pytest.approx(mse, rel=1e-5)
    correlation = statistics.correlation(outputs, targets)
    assert validation["val_ratings_pearson_helpfulness"] == pytest.approx(correlation, abs=1e-4)
    assert not {"val_ratings_loss", "val_ratings_accuracy"} & validation.keys()


def test_the_metrics_that_a_run_will_give_are_known_before_it(facts: dict[str, Any]) -> None:
    assert set(facts["metric_names"]) == facts["validation"].keys()


def test_a_rank_without_rows_takes_part_with_zeros(facts: dict[str, Any]) -> None:
    names, expected = facts["empty_names"]
    assert names == expected
    assert set(map(tuple, facts["empty"].values())) == {(0.0, True)}


def test_packed_rows_give_what_padded_rows_give(facts: dict[str, Any]) -> None:
    """Through the real layers: positions of RoPE begin anew in every row, and no row sees another."""
    assert facts["packed"]["attributes"] < 1e-5
    assert facts["packed"]["gradients"] < 1e-5


def test_packed_rows_never_make_the_host_wait_for_the_device(facts: dict[str, Any]) -> None:
    """Their lengths are numbers of the host; asking a GPU for them would stop it in every layer."""
    assert facts["asked"] == []
