"""Conversations as token ids: the one place where a template and a tokenizer meet."""

from collections.abc import Callable, Sequence
from typing import Any

from nemo_hs2pref.data.faults import BadRows, RefusedRows, describe
from nemo_hs2pref.data.records import Conversation, Message
from nemo_hs2pref.data.templates import named, render
from nemo_hs2pref.errors import DataError

Tokenize = Callable[[Sequence[Sequence[Message]]], list[list[int]]]
TokenizeRows = Callable[[Sequence[Conversation]], list[list[int]]]


def make_tokenize(tokenizer: Any, template: str) -> Tokenize:
    """Conversations to token ids by the named template.

    The tokenizer adds neither BOS nor EOS: Aligner's text has none, the others have their own.

    Raises:
        ConfigError: unknown template, or one that the tokenizer cannot take.
    """
    named(template).refuse_unfit(tokenizer)

    def tokenize(conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
        return token_ids([render(messages, template, tokenizer) for messages in conversations], tokenizer)

    return tokenize


def make_tokenize_rows(tokenizer: Any, template: str, *, may_be_empty: bool = True) -> TokenizeRows:
    """As make_tokenize for rows with ids: it raises one RefusedRows for all rows that the template refuses.

    may_be_empty: whether responses may, as some of benchmarks are.
    """
    named(template).refuse_unfit(tokenizer)

    def tokenize(rows: Sequence[Conversation]) -> list[list[int]]:
        texts: list[str] = []
        reasons: dict[str, str] = {}
        bad = BadRows()
        for row in rows:
            try:
                texts.append(render(row.messages, template, tokenizer, may_be_empty=may_be_empty))
            except DataError as fault:
                bad.add(row.id, fault)
                reasons[row.id] = str(fault)
        if bad.count:
            raise RefusedRows(describe(bad.shown, bad.count), reasons)
        return token_ids(texts, tokenizer)

    return tokenize


def token_ids(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Of rendered texts."""
    # not verbose: transformers warns of texts that are too long, which are refused or dropped by name here
    return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
