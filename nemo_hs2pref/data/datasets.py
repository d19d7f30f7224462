"""Prepared files to tokenised items. Nothing is dropped or replaced silently: a row that is too long stops the run."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nemo_hs2pref.data.batches import IGNORED, PairItem, RatingItem
from nemo_hs2pref.data.records import Message, read_pairs, read_ratings
from nemo_hs2pref.data.templates import render
from nemo_hs2pref.errors import DataError

logger = logging.getLogger(__name__)
Tokenize = Callable[[Sequence[Sequence[Message]]], list[list[int]]]


def tokenizer_of(checkpoint: Path) -> Any:
    """The checkpoint's own Hugging Face tokenizer."""
    from transformers import AutoTokenizer  # heavy

    return AutoTokenizer.from_pretrained(checkpoint / "tokenizer")


def make_tokenize(tokenizer: Any, template: str) -> Tokenize:
    """Conversations to token ids by the named template; no BOS and no EOS are added, as in Aligner."""

    def tokenize(conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        texts = [render(messages, template) for messages in conversations]
        return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

    return tokenize


def rating_items(
    path: Path, tokenize: Tokenize, *, slots: Sequence[str], attributes: Sequence[str], max_length: int
) -> list[RatingItem]:
    """All rated responses of a ratings file; of `slots`, those not in `attributes` or not rated are IGNORED."""
    rows = read_ratings(path)
    tokens = tokenize([row.messages for row in rows])
    refuse_long(path, [row.id for row in rows], tokens, max_length)
    items = []
    for row, ids in zip(rows, tokens, strict=True):
        values = [float(row.attributes[name]) if name in attributes and name in row.attributes else IGNORED
                  for name in slots]  # fmt: skip
        if all(value == IGNORED for value in values):
            raise DataError(f"{path}: row {row.id!r} has none of data.attributes {', '.join(attributes)}")
        items.append(RatingItem(ids, values))
    return items


def pair_items(path: Path, tokenize: Tokenize, *, ties: str, max_length: int) -> list[PairItem]:
    """All pairs of a pairs file; pairs of strength 0 are dropped with a count, or stop the run (ties="stop")."""
    pairs = read_pairs(path)
    tied = [pair for pair in pairs if pair.strength == 0]
    if tied and ties == "stop":
        raise DataError(
            f"{path}: {len(tied)} pairs of strength 0, the first is {tied[0].id!r}; data.ties=drop drops them"
        )
    if tied:
        logger.warning(
            "%s: %d of %d pairs have strength 0 and are dropped (data.ties=drop)", path, len(tied), len(pairs)
        )
    pairs = [pair for pair in pairs if pair.strength != 0]
    sides = [side for pair in pairs for side in pair.conversations()]
    tokens = tokenize([side.messages for side in sides])
    refuse_long(path, [side.id for side in sides], tokens, max_length)
    return [
        PairItem(chosen, rejected, pair.strength or 0)
        for pair, chosen, rejected in zip(pairs, tokens[::2], tokens[1::2], strict=True)
    ]


def refuse_long(path: Path, ids: Sequence[str], tokens: Sequence[Sequence[int]], max_length: int) -> None:
    """Aligner puts the next row in the place of one that is too long, and trains that twice."""
    long = [(name, len(row)) for name, row in zip(ids, tokens, strict=True) if len(row) > max_length]
    if long:
        name, length = long[0]
        raise DataError(
            f"{path}: {len(long)} rows are longer than model.encoder_seq_length={max_length} tokens, the first is "
            f"{name!r} with {length}; drop them with `hs2pref data prepare --max-length {max_length} --tokenizer ...`"
        )
