"""Rows of tokens, padded or packed: all that a model reads. Torch only.

Shapes: B rows, S tokens of the longest row, T tokens of all rows (both rounded up).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenBatch:
    """Rows of a micro batch. Lengths are kept as numbers of the host too: an accelerator is never asked for them."""

    ids: Tensor  # [B, S] int64, padded on the right; packed: [1, T], row after row
    lengths: Tensor  # [B] int64, tokens of each row
    row_lengths: tuple[int, ...]  # `lengths` on the host
    is_packed: bool = False

    @property
    def num_tokens(self) -> int:
        """Without padding."""
        return sum(self.row_lengths)


class MicroBatch(Protocol):
    """What the runtime asks of a micro batch, whatever else it has."""

    @property
    def tokens(self) -> TokenBatch: ...


MakeBatch = Callable[[], Sequence[MicroBatch]]  # one global batch: this data-parallel rank's micro batches


def token_batch(
    rows: Sequence[Sequence[int]], *, multiple_of: int, device: torch.device, packed: bool = False
) -> TokenBatch:
    """Rows padded to the longest, or packed; rounded up to `multiple_of` tokens, which sequence parallelism needs."""
    ids, lengths = (pack if packed else pad)(rows, multiple_of)
    return TokenBatch(ids.to(device), lengths.to(device), tuple(len(row) for row in rows), packed)


def pad(rows: Sequence[Sequence[int]], multiple_of: int) -> tuple[Tensor, Tensor]:
    """[B, S] tokens and [B] lengths. Padding is token 0: causal attention never sees what is to the right."""
    longest = max(len(row) for row in rows)
    width = -(-longest // multiple_of) * multiple_of
    tokens = torch.zeros(len(rows), width, dtype=torch.int64)
    for target, row in zip(tokens, rows, strict=True):
        target[: len(row)] = torch.tensor(row)
    return tokens, torch.tensor([len(row) for row in rows])


def pack(rows: Sequence[Sequence[int]], multiple_of: int) -> tuple[Tensor, Tensor]:
    """[1, T] tokens of all rows one after the other, and [B] lengths; what rounding adds stands at the end."""
    tokens, _ = pad([[token for row in rows for token in row]], multiple_of)
    return tokens, torch.tensor([len(row) for row in rows])
