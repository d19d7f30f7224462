"""Conversations as token ids: the one place where a template and a tokenizer meet."""

from collections.abc import Callable, Sequence
from typing import Any

from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates import named, render

Tokenize = Callable[[Sequence[Sequence[Message]]], list[list[int]]]


def make_tokenize(tokenizer: Any, template: str) -> Tokenize:
    """Conversations to token ids by the named template.

    The tokenizer adds neither BOS nor EOS: Aligner's text has none, the others have their own.

    Raises:
        ConfigError: unknown template, or one that the tokenizer cannot take.
    """
    named(template).refuse_unfit(tokenizer)

    def tokenize(conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        texts = [render(messages, template, tokenizer) for messages in conversations]
        # not verbose: transformers warns of texts that are too long, which are refused or dropped by name here
        return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []

    return tokenize
