"""The length filter: preparation drops what training could not hold, with a count, so that no loader ever has to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from nemo_hs2pref.data.groups import Record
from nemo_hs2pref.data.templates import DEFAULT_TEMPLATE, is_refused_for_markers
from nemo_hs2pref.data.templates.tokens import make_tokenize
from nemo_hs2pref.errors import DataError, InstallationError

TEXTS_AT_ONCE = 256  # keeps the token lists of a 20,000 row file from being in memory together


@dataclass(frozen=True)
class LengthLimit:
    """At most `max_length` tokens in the text of a conversation, as training counts them."""

    max_length: int
    tokenizer: str  # a folder or hub id for transformers' AutoTokenizer
    template: str = DEFAULT_TEMPLATE

    def to_json(self) -> dict[str, Any]:
        return {"max_length": self.max_length, "tokenizer": self.tokenizer, "template": self.template}

    def require_tokenizer(self) -> None:
        """Raise DataError or ConfigError where the tokenizer is missing, or cannot take the template."""
        make_tokenize(load_tokenizer(self.tokenizer), self.template)

    def verdicts(self, records: Sequence[Record]) -> list["Verdict"]:
        """What is to be said of each record; of a pair the longer side counts."""
        tokenizer = load_tokenizer(self.tokenizer)
        tokenize = make_tokenize(tokenizer, self.template)

        def is_refused(record: Record) -> bool:
            sides = record.conversations()
            return any(is_refused_for_markers(side.messages, self.template, tokenizer) for side in sides)

        def lengths(records: Sequence[Record]) -> Iterator[int]:
            sides = [side.messages for record in records for side in record.conversations()]
            for start in range(0, len(sides), TEXTS_AT_ONCE):
                yield from map(len, tokenize(sides[start : start + TEXTS_AT_ONCE]))

        refused = [is_refused(record) for record in records]
        found = lengths([record for record, is_out in zip(records, refused, strict=True) if not is_out])

        def verdict(record: Record, is_out: bool) -> Verdict:
            if is_out:
                return Verdict("marker_in_text")
            tokens = max([next(found) for _ in record.conversations()])
            return Verdict("too_long" if tokens > self.max_length else None, tokens)

        return [verdict(record, is_out) for record, is_out in zip(records, refused, strict=True)]


class Verdict(NamedTuple):
    """Whether a record can be trained on."""

    reason: str | None  # to drop it: too_long; marker_in_text, which the template would read as another turn
    tokens: int | None = None


@cache
def load_tokenizer(path: str) -> Any:
    """The Hugging Face tokenizer of a folder or hub id.

    Raises:
        DataError: it cannot be loaded.
        InstallationError: without the package `transformers`.
    """
    try:
        from transformers import AutoTokenizer  # seconds to import, and only counting tokens needs it
    except ImportError as error:
        raise InstallationError(
            f"tokenizer {path}: the package `transformers` is missing ({error}); install nemo-hs2pref[nemo]"
        ) from None
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"tokenizer {path}: cannot be loaded ({reason}); pass a folder with its files") from None
