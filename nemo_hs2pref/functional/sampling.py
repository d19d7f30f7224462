"""The next token, drawn from logits. Dimensions: B rows, V tokens of the vocabulary."""

import torch
from torch import Tensor

from nemo_hs2pref.functional.precision import widened


def draw_tokens(
    logits_BV: Tensor, uniform_B: Tensor, temperature: float = 1.0, top_p: float = 1.0
) -> tuple[Tensor, Tensor]:
    """A token for each row, by the inverse of its distribution function, and its log-probability.

    The draw is a function of the row's logits and its own number alone. So a row gets the same tokens in whatever
    batch it stands, and after a restart.

    Args:
        logits_BV: [B, V], any floating dtype.
        uniform_B: numbers from 0 to 1, 1 excluded, [B] float64.
        temperature: logits are divided by it; 0: the most probable token, and log-probabilities at temperature 1.
        top_p: draw among the most probable tokens that together have at least this probability (nucleus sampling,
            Holtzman et al., arXiv 1904.09751); above 0, 1 for all tokens.

    Returns:
        tokens: [B] int64.
        log_probs: [B] float32 or wider, under the distribution at this temperature before top_p cuts it: what a
            trainer computes of the tokens.

    Raises:
        ValueError: temperature below 0, or top_p outside of (0, 1].

    >>> draw_tokens(torch.tensor([[0.0, 0.0]]), torch.tensor([0.75], dtype=torch.float64))
    (tensor([1]), tensor([-0.6931]))
    """
    if not temperature >= 0 or not 0 < top_p <= 1:
        raise ValueError(f"temperature is {temperature}, top_p is {top_p}; expected at least 0, and above 0 to 1")
    (logits_BV,) = widened(logits_BV)
    log_probs_BV = torch.log_softmax(logits_BV / (temperature or 1.0), dim=1)
    tokens_B = logits_BV.argmax(dim=1) if temperature == 0 else _drawn(log_probs_BV.exp(), uniform_B, top_p)
    return tokens_B, log_probs_BV.gather(1, tokens_B.unsqueeze(1)).squeeze(1)


def _drawn(probabilities_BV: Tensor, uniform_B: Tensor, top_p: float) -> Tensor:
    order_BV = None
    if top_p < 1:
        probabilities_BV, order_BV = probabilities_BV.sort(dim=1, descending=True, stable=True)
        before_BV = probabilities_BV.double().cumsum(dim=1) - probabilities_BV
        probabilities_BV = probabilities_BV.where(before_BV < top_p, 0.0)  # the first one always stays
    below_BV = probabilities_BV.double().cumsum(dim=1)
    wanted_B = uniform_B.to(below_BV.device) * below_BV[:, -1]
    place_B = torch.searchsorted(below_BV, wanted_B.unsqueeze(1), right=True).squeeze(1)
    last_B = (probabilities_BV > 0).double().cumsum(dim=1).argmax(dim=1)  # rounding must not draw what cannot be
    place_B = place_B.minimum(last_B)
    return place_B if order_BV is None else order_BV.gather(1, place_B.unsqueeze(1)).squeeze(1)
