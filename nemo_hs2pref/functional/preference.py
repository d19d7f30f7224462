"""Bradley-Terry losses of the paper. Dimension: P pairs.

Source: HelpSteer2-Preference (arXiv 2410.01257), reward-model training. NeMo-Aligner 0.7.0 has the same three as
`regular_bt`, `margin_bt` and `scaled_bt`, each for one pair a call.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import logsigmoid

from nemo_hs2pref.functional.precision import require_same_shape, widened

STRENGTHS = (1, 2, 3)  # slightly better, better, much better


def _regular(gap_P: Tensor, strength_P: Tensor) -> Tensor:
    """The direction of the preference alone."""
    return -logsigmoid(gap_P)


def _margin(gap_P: Tensor, strength_P: Tensor) -> Tensor:
    """Asks for a gap that grows with the strength (Llama 2)."""
    return -logsigmoid(gap_P - _checked_strength(strength_P, gap_P))


def _scaled(gap_P: Tensor, strength_P: Tensor) -> Tensor:
    """Counts a pair as often as its strength says, without asking for any particular gap."""
    return -_checked_strength(strength_P, gap_P) * logsigmoid(gap_P)


# Each is a function of (gap [P] in float32 or wider, strength [P]) -> [P].
BRADLEY_TERRY_VARIANTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "regular": _regular,
    "margin": _margin,
    "scaled": _scaled,
}


def bradley_terry_loss(chosen_P: Tensor, rejected_P: Tensor, strength_P: Tensor, variant: str = "regular") -> Tensor:
    """Negative log-likelihood of the annotated preference, one value a pair.

    With r_c, r_r the rewards of the chosen and the rejected response and m the strength:

        regular   -log sigmoid(r_c - r_r)
        margin    -log sigmoid(r_c - r_r - m)
        scaled    -m log sigmoid(r_c - r_r)

    Args:
        chosen_P: rewards of the preferred responses, [P], any floating dtype.
        rejected_P: rewards of the other responses, [P].
        strength_P: m, already oriented (positive: the chosen one is better), [P], integers 1 to 3 of any dtype.
            "regular" does not look at it. The values are checked on the CPU only, since a look at an accelerator's
            memory would stall every step; data loading has checked them before they are moved there.
        variant: a key of BRADLEY_TERRY_VARIANTS.

    Returns:
        [P], unreduced, float32, or float64 where a reward is float64. The mean of the paper is over pairs;
        the scaled loss is not divided by the sum of the strengths.

    Raises:
        ValueError: unequal shapes, an unknown variant, or a strength other than 1, 2, 3 (margin, scaled; on the CPU).

    >>> import torch
    >>> zero, m = torch.zeros(2), torch.tensor([1, 3])
    >>> bradley_terry_loss(zero, zero, m, variant="scaled")
    tensor([0.6931, 2.0794])
    """
    if variant not in BRADLEY_TERRY_VARIANTS:
        raise ValueError(f"variant {variant!r} is unknown; the variants are {', '.join(BRADLEY_TERRY_VARIANTS)}")
    require_same_shape(chosen=chosen_P, rejected=rejected_P)
    chosen_P, rejected_P = widened(chosen_P, rejected_P)
    return BRADLEY_TERRY_VARIANTS[variant](chosen_P - rejected_P, strength_P)


def reward_centering_loss(chosen_P: Tensor, rejected_P: Tensor) -> Tensor:
    """Pulls the mean of the two rewards of a pair to 0, which Bradley-Terry leaves open: (r_c + r_r)^2.

    Beside a Bradley-Terry loss with a small coefficient, 0.01 in both sources.

    Args:
        chosen_P: rewards of the preferred responses, [P], any floating dtype.
        rejected_P: rewards of the other responses, [P].

    Returns:
        [P], unreduced, float32, or float64 where a reward is float64.

    Raises:
        ValueError: unequal shapes.

    Sources: Eisenstein et al. (arXiv 2312.09244), equation 2; TRL's `center_rewards_coefficient`, whose mean is over
    pairs too.

    >>> import torch
    >>> reward_centering_loss(torch.tensor([2.0]), torch.tensor([-0.5]))
    tensor([2.2500])
    """
    require_same_shape(chosen=chosen_P, rejected=rejected_P)
    chosen_P, rejected_P = widened(chosen_P, rejected_P)
    return (chosen_P + rejected_P).square()


def _checked_strength(strength_P: Tensor, gap_P: Tensor) -> Tensor:
    """The strengths in the dtype of the gap; refuses other values and another shape."""
    require_same_shape(gap=gap_P, strength=strength_P)
    if strength_P.device.type == "cpu":
        # Three comparisons rather than a range: 1.5 and NaN must not pass either.
        wrong = ((strength_P != 1) & (strength_P != 2) & (strength_P != 3)).nonzero()
        if len(wrong):
            index = tuple(wrong[0].tolist())
            raise ValueError(
                f"strength{list(index)} is {strength_P[index].item()}; margin and scaled need one of {STRENGTHS} "
                "(ties and swapped pairs are handled in data preparation)"
            )
    return strength_P.to(gap_P.dtype)
