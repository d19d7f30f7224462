"""Direct preference optimisation, with the strength of a preference as in Bradley-Terry. Dimension: P pairs."""

from torch import Tensor

from nemo_hs2pref.functional.precision import require_same_shape, widened
from nemo_hs2pref.functional.preference import bradley_terry_loss


def dpo_loss(
    policy_chosen_P: Tensor,
    policy_rejected_P: Tensor,
    reference_chosen_P: Tensor,
    reference_rejected_P: Tensor,
    strength_P: Tensor,
    beta: float,
    variant: str = "regular",
) -> Tensor:
    """Negative log-likelihood of the annotated preference under the policy's implicit reward, one value a pair.

    The implicit reward of a response y to a prompt x is beta log(pi(y|x) / pi_ref(y|x)), with log-probabilities summed
    over the tokens of the response. With D its difference between the two responses, divided by beta, and m the
    strength:

        regular   -log sigmoid(beta D)
        margin    -log sigmoid(beta D - m)
        scaled    -m log sigmoid(beta D)

    The margin stands outside of beta, as for rewards: the paper does not say where it has it [ours].

    Args:
        policy_chosen_P: log pi(chosen), summed over its tokens, [P], any floating dtype.
        policy_rejected_P: log pi(rejected), [P].
        reference_chosen_P: log pi_ref(chosen), [P], without gradient.
        reference_rejected_P: log pi_ref(rejected), [P], without gradient.
        strength_P: m, already oriented, [P], integers 1 to 3; see bradley_terry_loss.
        beta: how far the policy may leave the reference: the smaller, the further. Above 0.
        variant: a key of BRADLEY_TERRY_VARIANTS.

    Returns:
        [P], unreduced, float32, or float64 where an argument is float64.

    Raises:
        ValueError: unequal shapes, beta of 0 or less, an unknown variant, or a strength other than 1, 2, 3.

    Sources: Rafailov et al. (arXiv 2305.18290), equation 7; HelpSteer2-Preference (arXiv 2410.01257) trains all three.

    >>> import torch
    >>> zero, m = torch.zeros(2), torch.tensor([1, 3])
    >>> dpo_loss(zero, zero, zero, zero, m, beta=0.1, variant="scaled")
    tensor([0.6931, 2.0794])
    """
    if not beta > 0:
        raise ValueError(f"beta is {beta}; expected a number above 0")
    chosen_P = implicit_reward(policy_chosen_P, reference_chosen_P, beta)
    rejected_P = implicit_reward(policy_rejected_P, reference_rejected_P, beta)
    return bradley_terry_loss(chosen_P, rejected_P, strength_P, variant)


def implicit_reward(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """beta (log pi - log pi_ref): what DPO's policy says of a response, up to a constant of the prompt.

    Args:
        policy: log-probabilities summed over a response, any shape and floating dtype.
        reference: the reference's, the same shape.
        beta: as in dpo_loss.

    Returns:
        The same shape, float32 or wider.

    Source: Rafailov et al. (arXiv 2305.18290), equation 5.
    """
    require_same_shape(policy=policy, reference=reference)
    policy, reference = widened(policy, reference)
    return beta * (policy - reference)
