"""Prepared files to tokenised items. Nothing is dropped or replaced silently: a row that is too long stops the run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nemo_hs2pref.data.batches.rewards import PairItem, ResponseItem
from nemo_hs2pref.data.records import IGNORED, Conversation, read_jsonl, read_pairs, read_ratings
from nemo_hs2pref.data.templates.tokens import TokenizeRows
from nemo_hs2pref.data.tokenizers import open_tokenizer
from nemo_hs2pref.errors import CheckpointError, DataError

logger = logging.getLogger(__name__)
T = TypeVar("T")


def tokenizer_of(checkpoint: Path) -> Any:
    """The checkpoint's own Hugging Face tokenizer."""
    return open_tokenizer(checkpoint / "tokenizer", CheckpointError)


@dataclass(frozen=True)
class Reader:
    """Prepared rows to items."""

    tokenize: TokenizeRows
    slots: Sequence[str]  # [K] names of the head's outputs
    attributes: Sequence[str]  # those of the slots whose ratings are learned; the others are IGNORED
    max_length: int  # tokens
    ties: str = "drop"  # pairs that prefer nothing, by strength or by text: drop (with a count in the log) or stop

    def responses(self, path: Path) -> list[ResponseItem]:
        """All rated responses of a ratings file; each has at least one rating that is learned."""
        rows = read_ratings(path)
        items = self._items(path, rows, [row.attributes for row in rows])
        for row, item in zip(rows, items, strict=True):
            if all(value == IGNORED for value in item.attributes):
                raise DataError(f"{path}: row {row.id!r} has none of data.attributes {', '.join(self.attributes)}")
        return items

    def pairs(self, path: Path, *, require_strength: bool) -> list[PairItem]:
        """All pairs of a pairs file without those that prefer nothing; their ratings, where they have any, come along.

        These are ties, and sides that are equal to the model, or but for white space; preparation drops both.
        """
        pairs = read_pairs(path, require_strength=require_strength)
        ids = [pair.id for pair in pairs]
        pairs = self._without(path, pairs, ids, [pair.strength == 0 for pair in pairs], "have strength 0")
        sides = [side for pair in pairs for side in pair.conversations()]
        ratings = [rated for pair in pairs for rated in (pair.chosen_attributes, pair.rejected_attributes)]
        rows = self._items(path, sides, ratings)
        items = [
            PairItem(chosen, rejected, pair.strength)
            for pair, chosen, rejected in zip(pairs, rows[::2], rows[1::2], strict=True)
        ]
        are_equal = [
            item.chosen.tokens == item.rejected.tokens or pair.has_equal_responses
            for item, pair in zip(items, pairs, strict=True)
        ]
        return self._without(path, items, [pair.id for pair in pairs], are_equal, "have two equal responses")

    def either(self, path: Path) -> list[ResponseItem] | list[PairItem]:
        """What the file holds, by its first row; strengths are not required."""
        first = next((row for _, row in read_jsonl(path)), {})
        return self.responses(path) if "messages" in first else self.pairs(path, require_strength=False)

    def _without(
        self, path: Path, pairs: Sequence[T], ids: Sequence[str], is_out: Sequence[bool], what: str
    ) -> list[T]:
        """The pairs of which nothing says that they prefer nothing."""
        if any(is_out):
            found = f"{path}: {sum(is_out)} of {len(pairs)} pairs {what}"
            if self.ties == "stop":
                raise DataError(f"{found}, the first is {ids[is_out.index(True)]!r}; data.ties=drop drops them")
            logger.warning("%s and are dropped (data.ties=drop)", found)
        return [pair for pair, out in zip(pairs, is_out, strict=True) if not out]

    def _items(
        self, path: Path, rows: Sequence[Conversation], ratings: Sequence[Mapping[str, float]]
    ) -> list[ResponseItem]:
        try:
            tokens = self.tokenize(rows)
        except DataError as fault:
            raise DataError(f"{path}: {fault}") from None
        refuse_long(path, [row.id for row in rows], tokens, self.max_length)
        return [
            ResponseItem(ids, self._targets(rated), len(row.messages[-1].content))
            for row, ids, rated in zip(rows, tokens, ratings, strict=True)
        ]

    def _targets(self, rated: Mapping[str, float]) -> list[float]:
        """[K] ratings in the order of the slots."""
        return [float(rated[name]) if name in self.attributes and name in rated else IGNORED for name in self.slots]


def refuse_long(path: Path, ids: Sequence[str], tokens: Sequence[Sequence[int]], max_length: int) -> None:
    """Aligner puts the next row in the place of one that is too long, and trains that twice."""
    long = [(name, len(row)) for name, row in zip(ids, tokens, strict=True) if len(row) > max_length]
    if long:
        name, length = long[0]
        raise DataError(
            f"{path}: {len(long)} rows are longer than model.encoder_seq_length={max_length} tokens, the first is "
            f"{name!r} with {length}; drop them with `hs2pref data prepare --max-length {max_length} --tokenizer ...`"
        )
