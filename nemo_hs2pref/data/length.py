"""The length filter: preparation drops what training could not hold, with a count, so that no loader ever has to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from nemo_hs2pref.data.records import Conversation, PreferencePair, RatedResponse
from nemo_hs2pref.data.templates import DEFAULT_TEMPLATE, render
from nemo_hs2pref.errors import DataError

TEXTS_AT_ONCE = 256  # keeps the token lists of a 20,000 row file from being in memory together


@dataclass(frozen=True)
class LengthLimit:
    """At most `max_length` tokens in the rendered text of a conversation, without special tokens around it."""

    max_length: int
    tokenizer: str  # a folder or hub id for transformers' AutoTokenizer
    template: str = DEFAULT_TEMPLATE

    def to_json(self) -> dict[str, Any]:
        return {"max_length": self.max_length, "tokenizer": self.tokenizer, "template": self.template}

    def fits(self, records: Sequence[RatedResponse | PreferencePair]) -> list[bool]:
        """Whether each record is short enough; of a pair both sides must be."""
        lengths = self._lengths([side for record in records for side in record.conversations()])
        return [max([next(lengths) for _ in record.conversations()]) <= self.max_length for record in records]

    def _lengths(self, conversations: Sequence[Conversation]) -> Iterator[int]:
        """Tokens of each conversation."""
        for start in range(0, len(conversations), TEXTS_AT_ONCE):
            batch = conversations[start : start + TEXTS_AT_ONCE]
            texts = [render(conversation.messages, self.template) for conversation in batch]
            tokens = _tokenizer(self.tokenizer)(texts, add_special_tokens=False, verbose=False)
            yield from map(len, tokens["input_ids"])


@cache
def _tokenizer(path: str) -> Any:
    from transformers import AutoTokenizer  # seconds to import, and only a length limit needs it

    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"tokenizer {path}: cannot be loaded ({reason}); pass a folder with its files") from None
