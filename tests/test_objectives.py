"""The objective and the metrics on numbers worked out here, independently of the functions under test."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.data.batches.rewards import PairItem, ResponseItem, RewardBatch, collate
from nemo_hs2pref.data.records import IGNORED
from nemo_hs2pref.metrics.rewards import measure, no_sums, summarise
from nemo_hs2pref.objectives.interface import loss_of, metrics_of, sums_of
from nemo_hs2pref.objectives.reward import TERMS, RewardObjective

SLOTS = ("helpfulness", "verbosity")
HELPFULNESS = (1.0, 0.0)
CPU = torch.device("cpu")


def softplus(x: float) -> float:
    """-log(sigmoid(-x))"""
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def response(attributes: tuple[float, float] = (IGNORED, IGNORED), characters: int = 1) -> ResponseItem:
    return ResponseItem([1], list(attributes), characters)


def batch_of(items: list) -> RewardBatch:
    return collate(items, multiple_of=1, device=CPU)


def objective_of(weights: dict[str, float]) -> RewardObjective:
    return RewardObjective(weights, HELPFULNESS, SLOTS)


def losses(
    objective: RewardObjective, outputs: torch.Tensor, batch: RewardBatch, *, missing_as_zero: bool = False
) -> dict[str, float]:
    """Of a global batch of one micro batch."""
    metrics = metrics_of(objective, sums_of(objective, outputs, batch), missing_as_zero=missing_as_zero)
    return {name: value for name, value in metrics.items() if name.startswith("loss")}


# --- objective ---

RATED_PAIR = PairItem(response((4.0, 2.0)), response((1.0, IGNORED)), 3)
OUTPUTS = torch.tensor([[3.0, 1.0], [2.5, 0.0]])  # chosen, rejected
SQUARES = (4 - 3.0) ** 2 + (2 - 1.0) ** 2 + (1 - 2.5) ** 2  # three rated cells


def test_a_combined_loss_is_the_weighted_sum_of_both_means() -> None:
    """Ratings and strength of one and the same pair."""
    found = losses(objective_of({"regression": 0.5, "scaled_bt": 2.0}), OUTPUTS, batch_of([RATED_PAIR]))
    scaled = 3 * softplus(-(3.0 - 2.5))
    assert found["loss_regression"] == pytest.approx(SQUARES / 3)
    assert found["loss_scaled_bt"] == pytest.approx(scaled)
    assert found["loss"] == pytest.approx(0.5 * SQUARES / 3 + 2.0 * scaled)


def test_the_gradient_of_a_combined_loss_is_that_of_its_parts() -> None:
    batch = batch_of([RATED_PAIR, PairItem(response(), response(), 1)])

    def gradient(weights: dict[str, float]) -> torch.Tensor:
        outputs = torch.tensor(
            [[3.0, 1.0], [0.3, 0.2], [2.5, 0.0], [0.9, 0.1]], dtype=torch.float64, requires_grad=True
        )
        objective = objective_of(weights)
        loss_of(objective, objective.counts(batch))(outputs, batch)[0].backward()
        assert outputs.grad is not None
        return outputs.grad

    together = gradient({"regression": 0.5, "margin_bt": 2.0})
    torch.testing.assert_close(together, 0.5 * gradient({"regression": 1.0}) + 2.0 * gradient({"margin_bt": 1.0}))


def test_a_single_term_has_one_loss_and_its_formula() -> None:
    objective = objective_of({"scaled_bt": 1.0})
    assert losses(objective, OUTPUTS, batch_of([RATED_PAIR])).keys() == {"loss"}
    assert objective.formula == "mean of -m * log(sigmoid(r_c - r_r))"
    combined = objective_of({"regression": 0.5, "regular_bt": 1.0})
    assert combined.formula == "0.5 * (mean of (prediction - target)**2) + mean of -log(sigmoid(r_c - r_r))"


def test_a_training_step_without_items_of_a_term_has_the_loss_of_the_others() -> None:
    """Pairs without ratings under loss=combined; a validation set of them has no combined loss."""
    objective = objective_of({"regression": 1.0, "scaled_bt": 2.0})
    batch = batch_of([PairItem(response(), response(), 1)])
    scaled = softplus(-(3.0 - 2.5))
    assert losses(objective, OUTPUTS, batch).keys() == {"loss_scaled_bt"}
    assert losses(objective, OUTPUTS, batch, missing_as_zero=True)["loss"] == pytest.approx(2.0 * scaled)


@pytest.mark.parametrize("name", TERMS)
def test_a_batch_without_items_of_a_term_adds_nothing_and_has_a_gradient(name: str) -> None:
    """A micro batch of unrated pairs under regression, or of ratings under Bradley-Terry."""
    batch = batch_of([PairItem(response(), response(), 2)] if name == "regression" else [response((1.0, 1.0))] * 2)
    outputs = OUTPUTS.clone().requires_grad_()
    objective = objective_of({name: 1.0})
    loss_of(objective, {name: 0.0})(outputs, batch)[0].backward()
    assert outputs.grad is not None and not outputs.grad.any()
    assert losses(objective, OUTPUTS, batch) == {}


@pytest.mark.parametrize(("name", "expected"), [("regular_bt", 2), ("margin_bt", 1), ("scaled_bt", 1)])
def test_pairs_without_a_strength_count_where_strength_is_not_needed(name: str, expected: int) -> None:
    pairs = [PairItem(response(), response(), None), PairItem(response(), response(), 2)]
    outputs = torch.tensor([[5.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.5, 0.0]])
    objective = objective_of({name: 1.0})
    loss = losses(objective, outputs, batch_of(pairs))["loss"]
    graded = {"regular_bt": softplus(-0.5), "margin_bt": softplus(2 - 0.5), "scaled_bt": 2 * softplus(-0.5)}[name]
    assert objective.counts(batch_of(pairs)) == {name: expected}
    assert loss == pytest.approx((softplus(-5.0) + graded) / 2 if expected == 2 else graded)


def test_centering_beside_bradley_terry_moves_the_mean_of_a_pair_and_not_its_gap() -> None:
    """c (r_c + r_r)^2: the same pull on both sides, 2 c (r_c + r_r)."""
    batch = batch_of([PairItem(response(), response(), 2)])

    def gradient(weights: dict[str, float]) -> torch.Tensor:
        outputs = OUTPUTS.clone().double().requires_grad_()
        loss_of(objective_of(weights), dict.fromkeys(weights, 1.0))(outputs, batch)[0].backward()
        assert outputs.grad is not None
        return outputs.grad[:, 0]

    both, alone = gradient({"scaled_bt": 1.0, "centering": 0.1}), gradient({"scaled_bt": 1.0})
    torch.testing.assert_close(both - alone, torch.full((2,), 2 * 0.1 * (3.0 + 2.5), dtype=torch.float64))


# --- metrics ---


def measured(items: list, outputs: list[list[float]]) -> dict[str, float]:
    table = torch.tensor(outputs)
    return summarise(measure(table, table[:, 0], batch_of(items)), SLOTS)


def test_pairs_are_measured_by_strength() -> None:
    pairs = [PairItem(response(), response(), strength) for strength in (1, 3, 3, None)]
    rewards = [[2.0], [1.0], [0.0], [0.0], [1.5], [0.0], [1.0], [0.0]]  # four chosen, four rejected
    metrics = measured(pairs, [[*row, 0.0] for row in rewards])
    assert metrics["accuracy"] == 2 / 4  # the last one is a tie, which is no win
    assert (metrics["accuracy_strength_1"], metrics["accuracy_strength_3"]) == (1.0, 0.5)
    assert "accuracy_strength_2" not in metrics and "accuracy_strength_0" not in metrics
    assert metrics["margin"] == pytest.approx((0.5 + 1.0 - 1.0 + 0.0) / 4)
    assert (metrics["chosen_reward"], metrics["rejected_reward"]) == (0.75, 0.625)


ROWS = st.lists(
    st.tuples(
        *[st.floats(-5, 5).map(lambda x: round(x, 3))] * 2, st.integers(0, 4), st.booleans(), st.integers(1, 999)
    ),
    min_size=3,
    max_size=30,
)


@given(rows=ROWS, cut=st.integers(1, 29))
def test_merged_sums_give_what_numpy_gives_on_all_rows(rows: list, cut: int) -> None:
    """Two micro batches, added up."""
    items = [response((target if rated else IGNORED, IGNORED), length) for _, _, target, rated, length in rows]
    outputs = torch.tensor([[x, y] for x, y, *_ in rows], dtype=torch.float64)
    sums = no_sums(2)
    for part in (slice(0, cut), slice(cut, None)):
        if items[part]:
            found = measure(outputs[part], outputs[part, 0], batch_of(items[part]))
            sums = {name: sums[name] + found[name] for name in sums}
    metrics = summarise(sums, SLOTS)

    reward, lengths = outputs[:, 0].numpy(), np.array([row[4] for row in rows], dtype=float)
    assert metrics["reward_mean"] == pytest.approx(reward.mean(), abs=1e-9)
    assert metrics["reward_std"] == pytest.approx(reward.std(), abs=1e-6)
    if "reward_length_correlation" in metrics:
        assert metrics["reward_length_correlation"] == pytest.approx(np.corrcoef(reward, lengths)[0, 1], abs=1e-6)
    else:
        assert reward.std() < 1e-4 or lengths.std() < 1e-4
    rated = [(x, target) for (x, _, target, is_rated, _) in rows if is_rated]
    assert ("mse_helpfulness" in metrics) == bool(rated)
    if rated:
        predictions, targets = np.array(rated).T
        assert metrics["mse_helpfulness"] == pytest.approx(((predictions - targets) ** 2).mean(), abs=1e-9)
        if "pearson_helpfulness" in metrics:
            correlation = np.corrcoef(predictions, targets)[0, 1]
            assert metrics["pearson_helpfulness"] == pytest.approx(correlation, abs=1e-6)
    assert "mse_verbosity" not in metrics


def test_a_correlation_with_something_constant_is_left_out() -> None:
    metrics = measured([response((2.0, IGNORED), 5)] * 3, [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    assert not {"reward_length_correlation", "pearson_helpfulness"} & metrics.keys()
    assert metrics["mse_helpfulness"] == pytest.approx((1 + 0 + 1) / 3)


def test_no_rows_give_no_metrics() -> None:
    assert summarise(no_sums(2), SLOTS) == {}
