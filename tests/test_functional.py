"""The formulas of the paper: values derived by hand, gradients, precision, and what the variants promise."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.functional import (
    BRADLEY_TERRY_VARIANTS,
    bradley_terry_loss,
    dpo_loss,
    extrapolate,
    implicit_reward,
    regression_loss,
    reward_centering_loss,
)
from nemo_hs2pref.objectives.reward import TERMS

VARIANTS = sorted(BRADLEY_TERRY_VARIANTS)
EXACT = {"rtol": 1e-14, "atol": 1e-14}  # float64 against math: one rounding of each operation
rewards = st.floats(-30, 30)
strengths = st.sampled_from([1, 2, 3])


def float64(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def loss_of(chosen: float, rejected: float, strength: int, variant: str) -> float:
    """One pair in float64."""
    return bradley_terry_loss(float64(chosen), float64(rejected), torch.tensor([strength]), variant).item()


# Bradley-Terry: values


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("regular", [math.log1p(math.exp(-1.5)), math.log1p(math.exp(2.0)), math.log(2)]),
        ("margin", [math.log1p(math.exp(-0.5)), math.log1p(math.exp(4.0)), math.log1p(math.exp(3.0))]),
        ("scaled", [math.log1p(math.exp(-1.5)), 2 * math.log1p(math.exp(2.0)), 3 * math.log(2)]),
    ],
)
def test_bradley_terry_has_the_values_of_its_formula(variant, expected):
    chosen, rejected = float64(2.0, -1.0, 0.7), float64(0.5, 1.0, 0.7)  # gaps 1.5, -2 and 0
    loss = bradley_terry_loss(chosen, rejected, torch.tensor([1, 2, 3]), variant=variant)
    torch.testing.assert_close(loss, float64(*expected), **EXACT)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logged_formula_is_the_function(variant):
    names = {"log": math.log, "sigmoid": sigmoid, "r_c": 1.25, "r_r": -0.5, "m": 2}
    assert loss_of(1.25, -0.5, 2, variant) == pytest.approx(eval(TERMS[f"{variant}_bt"].formula, names), rel=1e-12)


def test_logged_formula_of_regression_is_the_function():
    squared_error, _ = regression_loss(torch.tensor([[1.25]]), torch.tensor([[3.0]]))
    assert squared_error.item() == eval(TERMS["regression"].formula, {"prediction": 1.25, "target": 3.0})


def test_every_variant_is_a_term():
    assert {f"{variant}_bt" for variant in BRADLEY_TERRY_VARIANTS} <= TERMS.keys()


# Bradley-Terry: gradients and precision


@pytest.mark.parametrize("variant", VARIANTS)
def test_bradley_terry_gradient_agrees_with_finite_differences(variant):
    chosen = torch.tensor([2.0, -1.0, 0.7, 0.0], dtype=torch.float64, requires_grad=True)
    rejected = torch.tensor([0.5, 1.0, 0.7, 4.0], dtype=torch.float64, requires_grad=True)
    strength = torch.tensor([1, 2, 3, 3])
    assert torch.autograd.gradcheck(lambda c, r: bradley_terry_loss(c, r, strength, variant), (chosen, rejected))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaps_of_ten_thousand_stay_finite(variant, dtype):
    gap = torch.tensor([1e4, -1e4], dtype=dtype, requires_grad=True)
    loss = bradley_terry_loss(gap, torch.zeros_like(gap), torch.tensor([3, 3]), variant)
    loss.sum().backward()
    linear = {"regular": 1e4, "margin": 1e4 + 3, "scaled": 3e4}[variant]
    assert loss.tolist() == [0.0, linear]
    assert gap.grad.tolist() == [0.0, -3.0 if variant == "scaled" else -1.0]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rewards_are_widened_before_the_difference(variant, dtype):
    # 256 and 0.0625 are exact in both dtypes, their difference is not.
    chosen, rejected = torch.tensor([256.0], dtype=dtype), torch.tensor([0.0625], dtype=dtype)
    strength = torch.tensor([2], dtype=dtype)
    loss = bradley_terry_loss(rejected, chosen, strength, variant)
    assert loss.dtype == torch.float32
    gap = 256 - 0.0625
    assert loss.item() == {"regular": gap, "margin": gap + 2, "scaled": 2 * gap}[variant]


def test_float64_stays_float64():
    one = torch.ones(1, dtype=torch.float64)
    assert bradley_terry_loss(one, one.float(), torch.tensor([1]), "margin").dtype == torch.float64
    assert regression_loss(one[None].float(), one[None])[0].dtype == torch.float64


# Bradley-Terry: properties


@given(rewards, rewards)
def test_scaled_loss_of_strength_3_is_the_pair_repeated_three_times(chosen, rejected):
    repeated = bradley_terry_loss(
        torch.full((3,), chosen, dtype=torch.float64),
        torch.full((3,), rejected, dtype=torch.float64),
        torch.ones(3, dtype=torch.int64),
        variant="regular",
    )
    assert loss_of(chosen, rejected, 3, "scaled") == pytest.approx(repeated.sum().item(), rel=1e-12)


@given(rewards, rewards, strengths)
def test_swapping_the_responses_turns_the_gap_but_not_the_margin(chosen, rejected, strength):
    swapped = loss_of(rejected, chosen, strength, "margin")
    assert swapped == pytest.approx(math.log1p(math.exp(chosen - rejected + strength)), rel=1e-12)


@given(st.floats(-20, 20), strengths)
def test_margin_loss_is_mirrored_around_a_gap_of_the_strength(beyond, strength):
    """f(-x) - f(x) = x for f = -log sigmoid."""
    mirrored = loss_of(strength - beyond, 0, strength, "margin")
    assert mirrored - loss_of(strength + beyond, 0, strength, "margin") == pytest.approx(beyond, abs=1e-12)


@given(rewards, rewards, strengths, st.sampled_from(VARIANTS), st.floats(-100, 100))
def test_a_constant_added_to_both_rewards_changes_nothing(chosen, rejected, strength, variant, constant):
    moved = loss_of(chosen + constant, rejected + constant, strength, variant)
    # abs: the additions round to 1e-14, which a loss near 0 shows
    assert moved == pytest.approx(loss_of(chosen, rejected, strength, variant), rel=1e-12, abs=1e-12)


def test_variants_agree_where_they_must():
    chosen, rejected, one = torch.tensor([0.25, -2.0]), torch.tensor([1.0, -2.5]), torch.tensor([1, 1])
    regular = bradley_terry_loss(chosen, rejected, one, "regular")
    assert torch.equal(bradley_terry_loss(chosen, rejected, one, "scaled"), regular)
    assert torch.equal(bradley_terry_loss(chosen + 1, rejected, one, "margin"), regular)


# Bradley-Terry: refusals


@pytest.mark.parametrize("variant", ["margin", "scaled"])
@pytest.mark.parametrize("wrong", [0.0, -1.0, 4.0, 1.5, math.nan])
def test_other_strengths_are_refused_with_value_and_index(variant, wrong):
    strength = torch.tensor([1.0, 2.0, wrong, 3.0])
    with pytest.raises(ValueError, match=rf"strength\[2\] is {wrong}"):
        bradley_terry_loss(torch.zeros(4), torch.zeros(4), strength, variant)


@pytest.mark.parametrize("variant", ["margin", "scaled"])
def test_strengths_on_an_accelerator_are_not_looked_at(variant):
    """A meta tensor has no values: it stands for memory that the host cannot read without waiting."""
    zero = torch.zeros(4, device="meta")
    assert bradley_terry_loss(zero, zero, zero, variant).shape == (4,)


def test_regular_ignores_the_strength():
    zero = torch.zeros(2)
    assert torch.equal(bradley_terry_loss(zero, zero, torch.tensor([0, -7])), bradley_terry_loss(zero, zero, zero))


def test_unknown_variant_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'scale' is unknown; the variants are regular, margin, scaled"):
        bradley_terry_loss(torch.zeros(1), torch.zeros(1), torch.ones(1), "scale")


def test_unequal_shapes_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"chosen has shape \(3,\), rejected has shape \(3, 1\)"):
        bradley_terry_loss(torch.zeros(3), torch.zeros(3, 1), torch.ones(3))
    with pytest.raises(ValueError, match=r"gap has shape \(3,\), strength has shape \(1,\)"):
        bradley_terry_loss(torch.zeros(3), torch.zeros(3), torch.ones(1), "scaled")
    with pytest.raises(ValueError, match=r"predictions has shape \(2, 5\), targets has shape \(2, 9\)"):
        regression_loss(torch.zeros(2, 5), torch.zeros(2, 9))
    with pytest.raises(ValueError, match=r"weak has shape \(2,\), strong has shape \(1,\)"):
        extrapolate(torch.zeros(2), torch.zeros(1), 1.5)


# Regression


def test_regression_squares_the_rated_cells_and_marks_them():
    predictions = torch.tensor([[1.5, 3.0], [0.0, -2.0]])
    targets = torch.tensor([[4.0, -100.0], [0.0, 1.0]])
    squared_error, valid = regression_loss(predictions, targets)
    assert squared_error.tolist() == [[6.25, 0.0], [0.0, 9.0]]
    assert valid.dtype == torch.bool and valid.tolist() == [[True, False], [True, True]]


def test_regression_gradient_agrees_with_finite_differences():
    predictions = torch.tensor([[1.5, 3.0], [0.25, -2.0]], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[4.0, -100.0], [0.0, 1.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: regression_loss(p, targets)[0], (predictions,))


@pytest.mark.parametrize("ignore_value", [-100.0, math.nan, math.inf])
@pytest.mark.parametrize("prediction", [math.nan, math.inf, -math.inf, 3.0])
def test_masked_cell_has_no_error_and_no_gradient_whatever_it_holds(ignore_value, prediction):
    predictions = torch.tensor([[prediction, 2.0]], requires_grad=True)
    squared_error, valid = regression_loss(predictions, torch.tensor([[ignore_value, 1.0]]), ignore_value)
    squared_error.sum().backward()
    assert squared_error.tolist() == [[0.0, 1.0]]
    assert predictions.grad.tolist() == [[0.0, 2.0]]
    assert valid.tolist() == [[False, True]]


def test_nan_in_a_rated_cell_is_not_hidden():
    squared_error, valid = regression_loss(torch.tensor([[1.0]]), torch.tensor([[math.nan]]))
    assert squared_error.isnan().all() and valid.all()


def test_batch_without_ratings_sums_to_zero():
    predictions = torch.ones(2, 3, requires_grad=True)
    squared_error, valid = regression_loss(predictions, torch.full((2, 3), -100.0))
    squared_error.sum().backward()
    assert squared_error.sum() == 0 and not valid.any() and not predictions.grad.any()


def test_half_precision_predictions_are_widened_before_the_difference():
    squared_error, _ = regression_loss(torch.tensor([[256.0]]).bfloat16(), torch.tensor([[0.0625]]).bfloat16())
    assert squared_error.dtype == torch.float32
    assert squared_error.item() == (256 - 0.0625) ** 2


# ExPO


def test_extrapolation_goes_from_the_weak_through_the_strong_tensor():
    weak, strong = float64(1.0, -2.0), float64(2.0, 2.0)
    assert extrapolate(weak, strong, 0.0).tolist() == [1.0, -2.0]
    assert extrapolate(weak, strong, 1.0).tolist() == [2.0, 2.0]
    assert extrapolate(weak, strong, 1.52).tolist() == [1 + 1.52 * 1, -2 + 1.52 * 4]


@given(rewards, rewards, st.floats(0, 2))
def test_alpha_is_the_original_formula_counted_from_the_weak_model(weak, strong, alpha):
    weak, strong = float64(weak), float64(strong)
    original = strong + (alpha - 1) * (strong - weak)
    torch.testing.assert_close(extrapolate(weak, strong, alpha), original, rtol=1e-12, atol=1e-12)


def test_extrapolation_computes_wide_and_returns_the_dtype_of_its_inputs():
    # In bfloat16 the difference of 256 and 1/16 is lost, and with it what 1.52 times it would give.
    weak = torch.tensor([256.0, 1.0], dtype=torch.bfloat16)
    strong = torch.tensor([0.0625, 1.0078125], dtype=torch.bfloat16)
    wide = weak.double() + 1.52 * (strong.double() - weak.double())
    result = extrapolate(weak, strong, 1.52)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, wide.to(torch.bfloat16))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_alpha_1_is_the_strong_tensor_and_0_the_weak_one_bit_for_bit(dtype):
    """weak + (strong - weak) in float32 misses strong by a rounding in one number of six, and turns -0.0 into 0.0."""
    torch.manual_seed(0)
    odd = torch.tensor([-0.0, 0.0, float("inf"), float("nan"), 1e-40]).to(dtype)
    weak, strong = torch.cat([torch.randn(1000).to(dtype), odd]), torch.cat([torch.randn(1000).to(dtype), odd.flip(0)])
    for alpha, whole in ((1.0, strong), (0.0, weak)):
        found = extrapolate(weak, strong, alpha)
        assert found.view(torch.uint8).equal(whole.view(torch.uint8))
        assert found.data_ptr() != whole.data_ptr()


@pytest.mark.parametrize("dtypes", [(torch.bfloat16, torch.float32), (torch.int64, torch.int64)])
def test_extrapolation_refuses_other_dtypes(dtypes):
    with pytest.raises(ValueError, match="must be one floating-point dtype"):
        extrapolate(torch.ones(1, dtype=dtypes[0]), torch.ones(1, dtype=dtypes[1]), 1.5)


# reward centring


def test_reward_centering_has_the_values_of_its_formula():
    loss = reward_centering_loss(float64(2.0, -1.0, 0.5), float64(-0.5, -2.0, -0.5))
    torch.testing.assert_close(loss, float64(2.25, 9.0, 0.0), **EXACT)
    assert eval(TERMS["centering"].formula, {"r_c": -1.0, "r_r": -2.0}) == 9.0


def test_reward_centering_gradient_agrees_with_finite_differences():
    rewards = float64(2.0, -1.0).requires_grad_(), float64(0.5, 3.0).requires_grad_()
    assert torch.autograd.gradcheck(reward_centering_loss, rewards)


def test_reward_centering_refuses_unequal_shapes():
    with pytest.raises(ValueError, match="they must be equal"):
        reward_centering_loss(float64(1.0), float64(1.0, 2.0))


# DPO


def dpo_of(variant: str, *, beta: float = 0.5) -> torch.Tensor:
    """Three pairs with log-ratio differences 3, -4 and 0, so that beta D is 1.5, -2 and 0."""
    policy = float64(-10.0, -12.0, -3.0), float64(-14.0, -9.0, -7.0)
    reference = float64(-11.0, -12.0, -5.0), float64(-12.0, -13.0, -9.0)
    return dpo_loss(*policy, *reference, torch.tensor([1, 2, 3]), beta, variant)


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("regular", [math.log1p(math.exp(-1.5)), math.log1p(math.exp(2.0)), math.log(2)]),
        ("margin", [math.log1p(math.exp(-0.5)), math.log1p(math.exp(4.0)), math.log1p(math.exp(3.0))]),
        ("scaled", [math.log1p(math.exp(-1.5)), 2 * math.log1p(math.exp(2.0)), 3 * math.log(2)]),
    ],
)
def test_dpo_has_the_values_of_its_formula(variant, expected):
    torch.testing.assert_close(dpo_of(variant), float64(*expected), **EXACT)


@pytest.mark.parametrize("variant", VARIANTS)
def test_dpo_gradient_agrees_with_finite_differences(variant):
    values = [float64(-3.0, -1.0, -2.5).add(shift).requires_grad_() for shift in (0.0, 0.7, -0.3, 0.1)]
    strength = torch.tensor([1, 2, 3])
    assert torch.autograd.gradcheck(lambda *four: dpo_loss(*four, strength, 0.3, variant), values)


def test_dpo_at_the_reference_knows_nothing():
    """log 2 a pair, and a gradient of beta / 2 on both sides."""
    policy, reference = float64(-5.0).requires_grad_(), float64(-5.0)
    loss = dpo_loss(policy, reference, reference, reference, torch.tensor([1]), beta=0.2)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), float64(math.log(2)), **EXACT)
    torch.testing.assert_close(policy.grad, float64(-0.1), **EXACT)


def test_implicit_reward_is_beta_times_the_log_ratio():
    torch.testing.assert_close(implicit_reward(float64(-3.0), float64(-5.0), 0.1), float64(0.2), **EXACT)


@pytest.mark.parametrize("beta", [0.0, -0.1, math.nan])
def test_dpo_refuses_a_beta_that_is_not_above_0(beta):
    with pytest.raises(ValueError, match="expected a number above 0"):
        dpo_of("regular", beta=beta)


def test_dpo_refuses_unequal_shapes():
    with pytest.raises(ValueError, match="they must be equal"):
        dpo_loss(float64(1.0), float64(1.0), float64(1.0, 2.0), float64(1.0), torch.tensor([1]), 0.1)
