"""The length filter: preparation drops what training could not hold, with a count, so that no loader ever has to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from nemo_hs2pref.data.groups import Record
from nemo_hs2pref.data.templates import DEFAULT_TEMPLATE, MarkerInText, named, refuse_lost, write
from nemo_hs2pref.data.templates.tokens import token_ids
from nemo_hs2pref.data.tokenizers import open_tokenizer
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
        named(self.template).refuse_unfit(load_tokenizer(self.tokenizer))

    def verdicts(self, records: Sequence[Record]) -> list["Verdict"]:
        """What is to be said of each record; of a pair the longer side counts."""
        tokenizer = load_tokenizer(self.tokenizer)
        rendered = [self._rendered(record, tokenizer) for record in records]
        texts = [text for found in rendered if not isinstance(found, Verdict) for text in found]
        counts = _counts(texts, tokenizer)

        def of_length(tokens: int) -> Verdict:
            return Verdict("too_long" if tokens > self.max_length else None, tokens)

        return [
            found if isinstance(found, Verdict) else of_length(max([next(counts) for _ in found])) for found in rendered
        ]

    def _rendered(self, record: Record, tokenizer: Any) -> "list[str] | Verdict":
        """The text of each side, or why there is none."""
        sides = [side.messages for side in record.conversations()]
        try:
            texts = [write(side, self.template, tokenizer) for side in sides]
            if len(texts) == 2 and texts[0] == texts[1]:
                return Verdict("equal_responses")
            for side, text in zip(sides, texts, strict=True):
                refuse_lost(side, text, self.template, tokenizer)
        except MarkerInText:
            return Verdict("marker_in_text")
        except DataError as fault:
            return Verdict(fault)
        return texts


class Verdict(NamedTuple):
    """Whether a record can be trained on."""

    # To drop it: too_long; equal_responses once they are rendered; marker_in_text, which the template would read as
    # another turn. DataError: the row is malformed, for this template.
    reason: str | DataError | None
    tokens: int | None = None


def _counts(texts: Sequence[str], tokenizer: Any) -> Iterator[int]:
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        yield from map(len, token_ids(texts[start : start + TEXTS_AT_ONCE], tokenizer))


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
    if Path(path).is_dir():
        return open_tokenizer(Path(path), DataError)
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # each class, the tokenizers package and the hub raise their own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"tokenizer {path}: cannot be loaded ({reason}); pass a folder with its files") from None
