"""Tokenised rows and the micro batches made of them. Torch only.

Shapes: B rows, P pairs, S tokens of the longest row, T tokens of all rows (both rounded up), K attributes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nemo_hs2pref.data.records import IGNORED


@dataclass(frozen=True)
class ResponseItem:
    """One prompt with one response, rated or not."""

    tokens: list[int]
    attributes: list[float]  # [K]; IGNORED where not rated
    characters: int  # of the response alone

    @property
    def width(self) -> int:
        """Tokens of its longest row."""
        return len(self.tokens)


@dataclass(frozen=True)
class PairItem:
    """One comparison: one item of a dataset, so that nothing can tear the two responses apart."""

    chosen: ResponseItem
    rejected: ResponseItem
    strength: int  # 1 to 3; 0 where only the direction is known

    @property
    def width(self) -> int:
        return max(self.chosen.width, self.rejected.width)


Item = ResponseItem | PairItem
Items = Sequence[Item]  # of one kind


@dataclass(frozen=True)
class Batch:
    """A micro batch of responses or of pairs. Of pairs, rows 0..P-1 are the chosen ones, rows P..2P-1 the rejected.

    Lengths and counts are kept as numbers of the host too: an accelerator is never asked for them.
    """

    tokens: Tensor  # [B, S] int64, padded on the right; packed: [1, T], row after row
    lengths: Tensor  # [B] int64, tokens of each row
    attributes: Tensor  # [B, K] float32, IGNORED where not rated
    characters: Tensor  # [B] float64, of the response alone
    strength: Tensor  # [P] int64; P is 0 in a batch of responses
    num_valid: int  # rated cells of `attributes`
    num_pairs: int
    num_graded: int  # pairs with a strength
    row_lengths: tuple[int, ...]  # `lengths` on the host
    is_packed: bool = False

    @property
    def num_tokens(self) -> int:
        """Without padding."""
        return sum(self.row_lengths)


MakeBatch = Callable[[], Sequence[Batch]]  # one global batch: this data-parallel rank's micro batches


def collate(items: Items, *, multiple_of: int, device: torch.device, packed: bool = False) -> Batch:
    """Rows padded to the longest, or packed; rounded up to `multiple_of` tokens, which sequence parallelism needs."""
    pairs = [item for item in items if isinstance(item, PairItem)]
    responses = [item for item in items if isinstance(item, ResponseItem)]
    rows = responses or [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    tokens, lengths = (pack if packed else pad)([row.tokens for row in rows], multiple_of)
    attributes = torch.tensor([row.attributes for row in rows], dtype=torch.float32)
    return Batch(
        tokens.to(device),
        lengths.to(device),
        attributes.to(device),
        torch.tensor([row.characters for row in rows], dtype=torch.float64).to(device),
        torch.tensor([pair.strength for pair in pairs], dtype=torch.int64).to(device),
        num_valid=int((attributes != IGNORED).sum()),
        num_pairs=len(pairs),
        num_graded=sum(pair.strength > 0 for pair in pairs),
        row_lengths=tuple(len(row.tokens) for row in rows),
        is_packed=packed,
    )


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
