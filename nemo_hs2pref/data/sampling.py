"""Which items make which global batch: a function of seed and step alone, so that resuming needs no state."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch


class GlobalBatches:
    """Item numbers of every optimizer step: epochs of permutations, one after the other without a gap.

    A global batch may span two epochs, as in Aligner's recipe, which puts the file twice. The last batch that
    the epochs cannot fill is left out.
    """

    def __init__(self, num_items: int, global_batch_size: int, *, seed: int, shuffle: bool) -> None:
        self.num_items = num_items
        self.size = global_batch_size
        self.order = lru_cache(maxsize=2)(self._order)
        self.seed, self.shuffle = seed, shuffle

    def num_steps(self, max_epochs: int, max_steps: int) -> int:
        """Optimizer steps of a run; max_steps -1 leaves it to the epochs."""
        by_epochs = max_epochs * self.num_items // self.size
        return by_epochs if max_steps < 0 else min(by_epochs, max_steps)

    def indices(self, step: int) -> list[int]:
        """[global_batch_size] item numbers of optimizer step `step`, counted from 0."""
        positions = range(step * self.size, (step + 1) * self.size)
        return [self.order(p // self.num_items)[p % self.num_items] for p in positions]

    def _order(self, epoch: int) -> list[int]:
        if not self.shuffle:
            return list(range(self.num_items))
        generator = torch.Generator().manual_seed(self.seed + epoch)
        return torch.randperm(self.num_items, generator=generator).tolist()


def chunks(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    """Parts of `size`; the last may be smaller."""
    return [indices[i : i + size] for i in range(0, len(indices), size)]


def micro_batches(
    indices: Sequence[int], widths: Mapping[int, int], size: int, rank: int, num_ranks: int
) -> list[Sequence[int]]:
    """The micro batches of data-parallel rank `rank`: items of like width together, the widest first.

    They are dealt in turn, so that all ranks have rows of like width at a time. The widest comes first, so that a
    run that needs too much memory stops at once.

    Args:
        indices: item numbers of the global batch.
        widths: item number -> tokens of its longest row.
        size: items of a micro batch; the last one may be smaller.
    """
    by_width = sorted(indices, key=lambda i: -widths[i])
    return chunks(by_width, size)[rank::num_ranks]
