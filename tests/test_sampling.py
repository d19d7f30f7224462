"""Tokens drawn from logits: the right share of each, by a number of the row alone."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.functional.sampling import draw_tokens

LOGITS = torch.tensor([[math.log(0.5), math.log(0.3), math.log(0.2)]])


def drawn(uniform: list[float], **settings: float) -> list[int]:
    rows = LOGITS.expand(len(uniform), -1)
    return draw_tokens(rows, torch.tensor(uniform, dtype=torch.float64), **settings)[0].tolist()


def test_a_number_falls_into_the_share_of_its_token() -> None:
    assert drawn([0.0, 0.49, 0.51, 0.79, 0.81, 0.999999]) == [0, 0, 1, 1, 2, 2]


def test_top_p_leaves_the_most_probable_tokens_that_reach_it() -> None:
    assert drawn([0.0, 0.62, 0.63, 0.999999], top_p=0.7) == [0, 0, 1, 1]  # of 0.5 and 0.3: 0.625 and the rest
    assert drawn([0.999999], top_p=0.5) == [0]


def test_temperature_sharpens_and_0_takes_the_best() -> None:
    share = 0.25 / (0.25 + 0.09 + 0.04)  # squares, at temperature 0.5
    assert drawn([share - 1e-3, share + 1e-3], temperature=0.5) == [0, 1]
    assert drawn([0.999999], temperature=0.0) == [0]


def test_log_probabilities_are_of_the_whole_distribution() -> None:
    _, log_probs = draw_tokens(LOGITS, torch.tensor([0.9], dtype=torch.float64), top_p=0.9)
    assert log_probs.item() == pytest.approx(math.log(0.3), abs=1e-6) or log_probs.item() == pytest.approx(
        math.log(0.2), abs=1e-6
    )


@given(uniform=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 99), top_p=st.floats(0.01, 1.0))
def test_no_token_is_drawn_that_cannot_be(uniform: float, seed: int, top_p: float) -> None:
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(seed)) * 10
    logits[0, ::2] = -torch.inf
    token, log_prob = draw_tokens(logits, torch.tensor([uniform], dtype=torch.float64), top_p=top_p)
    assert token.item() % 2 == 1 and log_prob.isfinite().all()


@pytest.mark.parametrize("settings", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.1}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        draw_tokens(LOGITS, torch.zeros(1, dtype=torch.float64), **settings)
