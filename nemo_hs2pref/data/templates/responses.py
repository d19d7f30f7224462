"""Which tokens of a conversation the assistant writes: what a policy learns, and what its log-probability is of.

A response begins where the template's prompt for it ends, and goes on to the marker that ends the turn, which is part
of it: a policy has to learn to stop. What the template writes behind that marker is not, as the line break of ChatML.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates import named, render
from nemo_hs2pref.errors import ConfigError, DataError

Turns = Literal["all", "last"]  # of the assistant
Span = tuple[int, int]  # first character and the one behind the last


@dataclass(frozen=True)
class Marked:
    """A conversation as tokens."""

    tokens: list[int]
    is_response: list[bool]  # one a token


def mark_responses(
    conversations: Sequence[Sequence[Message]], template: str, tokenizer: Any, turns: Turns = "all"
) -> list[Marked]:
    """Tokens of conversations that end with the assistant, and which of them the assistant writes.

    A token belongs to a response if it begins in it: one that begins before it, as where a tokenizer merges the line
    breaks of a header and of a content, is never the policy's to choose.

    Args:
        conversations: each as `render` takes it.
        template: a name of TEMPLATES.
        tokenizer: a fast Hugging Face tokenizer, which knows where its tokens stand in the text.
        turns: all of the assistant's, or the last one alone.

    Raises:
        ConfigError: an unknown template, or a tokenizer that does not know places.
        DataError: as `render`; or the template writes a conversation in another way as long as it is not complete, so
            that the assistant's turns cannot be told from the rest.
    """
    if not tokenizer.is_fast:
        raise ConfigError(
            f"the tokenizer {tokenizer.name_or_path} is not a fast one, and does not tell where its tokens stand in a "
            "text; put its tokenizer.json beside it"
        )
    if not conversations:
        return []
    texts = [render(messages, template, tokenizer) for messages in conversations]
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [
        Marked(tokens, _begin_in(places, response_spans(messages, text, template, tokenizer, turns)))
        for messages, text, tokens, places in zip(
            conversations, texts, encoded["input_ids"], encoded["offset_mapping"], strict=True
        )
    ]


def response_spans(
    messages: Sequence[Message], text: str, template: str, tokenizer: Any, turns: Turns = "all"
) -> list[Span]:
    """Where the assistant's turns stand in the text that `render` made of the messages, each with what ends it."""
    places = [place for place, message in enumerate(messages) if message.role == "assistant"]
    return [_span(messages, place, text, template, tokenizer) for place in (places if turns == "all" else places[-1:])]


def _span(messages: Sequence[Message], place: int, text: str, template: str, tokenizer: Any) -> Span:
    chosen = named(template)
    prompt, content = chosen.render_prompt(messages[:place], tokenizer), messages[place].content.strip()
    found = text.find(content, len(prompt)) if text.startswith(prompt) else -1
    if found < 0:
        raise DataError(
            f"the template {template} writes the messages before message {place + 1}, of the assistant, in another way "
            "where a response follows, so that it cannot be told what the assistant writes; choose another template, "
            "or learn the last turn alone"
        )
    behind = found + len(content)
    ends = [(at, at + len(end)) for end in chosen.ends_of_turn(tokenizer) if (at := text.find(end, behind)) >= 0]
    if not ends or text[behind : min(ends)[0]].strip():
        raise DataError(
            f"the template {template} writes nothing behind message {place + 1}, of the assistant, that ends the turn, "
            "so that a policy would never learn to stop; choose another template"
        )
    return len(prompt), min(ends)[1]


def _begin_in(places: Sequence[Span], spans: Sequence[Span]) -> list[bool]:
    return [any(start <= first < end for start, end in spans) for first, _ in places]
