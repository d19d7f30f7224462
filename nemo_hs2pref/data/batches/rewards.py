"""What reward models learn from: responses, rated or not, and pairs of them.

Shapes: B rows, P pairs, K attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nemo_hs2pref.data.batches.tokens import TokenBatch, token_batch
from nemo_hs2pref.data.records import IGNORED

UNGRADED = -1  # in a tensor of strengths: only the direction is known. A tie (0 in a record) is in no batch.


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
    strength: int | None  # 1 to 3; None where only the direction is known

    @property
    def width(self) -> int:
        return max(self.chosen.width, self.rejected.width)


Item = ResponseItem | PairItem
Items = Sequence[Item]  # of one kind


@dataclass(frozen=True)
class RewardBatch:
    """A micro batch of responses, or of pairs: then each pair is two of its rows, and `sides` tells which."""

    tokens: TokenBatch
    attributes: Tensor  # [B, K] float32, IGNORED where not rated
    characters: Tensor  # [B] float64, of the response alone
    strength: Tensor  # [P] int64, 1 to 3 or UNGRADED; P is 0 in a batch of responses
    num_valid: int  # rated cells of `attributes`
    num_graded: int  # pairs with a strength

    @property
    def num_pairs(self) -> int:
        return len(self.strength)

    def sides(self, of_rows: Tensor) -> tuple[Tensor, Tensor]:
        """([P, ...], [P, ...]): of a tensor [B, ...] the rows of the chosen and those of the rejected responses."""
        return of_rows[: self.num_pairs], of_rows[self.num_pairs : 2 * self.num_pairs]


def collate(items: Items, *, multiple_of: int, device: torch.device, packed: bool = False) -> RewardBatch:
    """Items of one kind as a micro batch; see token_batch."""
    pairs = [item for item in items if isinstance(item, PairItem)]
    responses = [item for item in items if isinstance(item, ResponseItem)]
    rows = responses or [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    attributes = torch.tensor([row.attributes for row in rows], dtype=torch.float32)
    strengths = [UNGRADED if pair.strength is None else pair.strength for pair in pairs]
    return RewardBatch(
        token_batch([row.tokens for row in rows], multiple_of=multiple_of, device=device, packed=packed),
        attributes.to(device),
        torch.tensor([row.characters for row in rows], dtype=torch.float64).to(device),
        torch.tensor(strengths, dtype=torch.int64).to(device),
        num_valid=int((attributes != IGNORED).sum()),
        num_graded=sum(strength != UNGRADED for strength in strengths),
    )
