"""Tokenised rows and the micro batches made of them. Torch only.

Shapes: B rows, P pairs, S tokens of the longest row (rounded up), K attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IGNORED = -100.0  # Aligner's mark of an attribute that was not rated


@dataclass(frozen=True)
class RatingItem:
    """One response with its ratings."""

    tokens: list[int]
    attributes: list[float]  # [K]; IGNORED where not rated


@dataclass(frozen=True)
class PairItem:
    """One comparison: one item of a dataset, so that nothing can tear the two responses apart."""

    chosen: list[int]
    rejected: list[int]
    strength: int  # 1 to 3


@dataclass(frozen=True)
class RatingBatch:
    """A micro batch of rated responses."""

    tokens: Tensor  # [B, S] int64, padded on the right
    lengths: Tensor  # [B] int64
    attributes: Tensor  # [B, K] float32
    num_valid: (
        int  # rated cells of `attributes`; this and num_tokens are host numbers: counting needs no synchronisation
    )
    num_tokens: int  # without padding


@dataclass(frozen=True)
class PairBatch:
    """A micro batch of pairs: rows 0..P-1 are the chosen responses, rows P..2P-1 the rejected ones."""

    tokens: Tensor  # [2P, S] int64, padded on the right
    lengths: Tensor  # [2P] int64
    strength: Tensor  # [P] int64
    num_tokens: int  # without padding


def collate_ratings(items: Sequence[RatingItem], *, multiple_of: int, device: torch.device) -> RatingBatch:
    """Pad to the longest row, rounded up to `multiple_of` tokens (sequence parallelism divides S by TP)."""
    tokens, lengths = pad([item.tokens for item in items], multiple_of)
    attributes = torch.tensor([item.attributes for item in items], dtype=torch.float32)
    valid = int((attributes != IGNORED).sum())
    num_tokens = int(lengths.sum())
    return RatingBatch(tokens.to(device), lengths.to(device), attributes.to(device), valid, num_tokens)


def collate_pairs(items: Sequence[PairItem], *, multiple_of: int, device: torch.device) -> PairBatch:
    """Pad to the longest row of both sides, rounded up to `multiple_of` tokens."""
    tokens, lengths = pad([item.chosen for item in items] + [item.rejected for item in items], multiple_of)
    strength = torch.tensor([item.strength for item in items])
    num_tokens = int(lengths.sum())
    return PairBatch(tokens.to(device), lengths.to(device), strength.to(device), num_tokens)


def pad(rows: Sequence[Sequence[int]], multiple_of: int) -> tuple[Tensor, Tensor]:
    """[B, S] tokens and [B] lengths. Padding is token 0: causal attention never sees what is to the right."""
    longest = max(len(row) for row in rows)
    width = -(-longest // multiple_of) * multiple_of
    tokens = torch.zeros(len(rows), width, dtype=torch.int64)
    for target, row in zip(tokens, rows, strict=True):
        target[: len(row)] = torch.tensor(row)
    return tokens, torch.tensor([len(row) for row in rows])
