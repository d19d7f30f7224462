"""Prepared files to tokenised items. Nothing is dropped or replaced silently: a row that is too long stops the run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_hs2pref.data.batches import IGNORED, PairItem, ResponseItem
from nemo_hs2pref.data.records import Conversation, PreferencePair, read_jsonl, read_pairs, read_ratings
from nemo_hs2pref.data.templates.tokens import Tokenize
from nemo_hs2pref.errors import DataError

logger = logging.getLogger(__name__)


def tokenizer_of(checkpoint: Path) -> Any:
    """The checkpoint's own Hugging Face tokenizer."""
    from transformers import AutoTokenizer  # heavy

    return AutoTokenizer.from_pretrained(checkpoint / "tokenizer", trust_remote_code=False)


@dataclass(frozen=True)
class Reader:
    """Prepared rows to items."""

    tokenize: Tokenize
    slots: Sequence[str]  # [K] names of the head's outputs
    attributes: Sequence[str]  # those of the slots whose ratings are learned; the others are IGNORED
    max_length: int  # tokens
    ties: str = "drop"  # pairs of strength 0: drop (with a count in the log) or stop

    def responses(self, path: Path) -> list[ResponseItem]:
        """All rated responses of a ratings file; each has at least one rating that is learned."""
        rows = read_ratings(path)
        items = self._items(path, rows, [row.attributes for row in rows])
        for row, item in zip(rows, items, strict=True):
            if all(value == IGNORED for value in item.attributes):
                raise DataError(f"{path}: row {row.id!r} has none of data.attributes {', '.join(self.attributes)}")
        return items

    def pairs(self, path: Path, *, require_strength: bool) -> list[PairItem]:
        """All pairs of a pairs file without its ties; their ratings, where they have any, come along."""
        pairs = self._without_ties(path, read_pairs(path, require_strength=require_strength))
        sides = [side for pair in pairs for side in pair.conversations()]
        ratings = [rated for pair in pairs for rated in (pair.chosen_attributes, pair.rejected_attributes)]
        items = self._items(path, sides, ratings)
        return [
            PairItem(chosen, rejected, pair.strength or 0)
            for pair, chosen, rejected in zip(pairs, items[::2], items[1::2], strict=True)
        ]

    def either(self, path: Path) -> list[ResponseItem] | list[PairItem]:
        """What the file holds, by its first row; strengths are not required."""
        first = next((row for _, row in read_jsonl(path)), {})
        return self.responses(path) if "messages" in first else self.pairs(path, require_strength=False)

    def _without_ties(self, path: Path, pairs: list[PreferencePair]) -> list[PreferencePair]:
        tied = [pair for pair in pairs if pair.strength == 0]
        if tied and self.ties == "stop":
            raise DataError(
                f"{path}: {len(tied)} pairs of strength 0, the first is {tied[0].id!r}; data.ties=drop drops them"
            )
        if tied:
            logger.warning(
                "%s: %d of %d pairs have strength 0 and are dropped (data.ties=drop)", path, len(tied), len(pairs)
            )
        return [pair for pair in pairs if pair.strength != 0]

    def _items(
        self, path: Path, rows: Sequence[Conversation], ratings: Sequence[Mapping[str, float]]
    ) -> list[ResponseItem]:
        tokens = self.tokenize([row.messages for row in rows])
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
