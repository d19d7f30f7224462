"""Conversations as the text that a reward model reads, by the name of a template.

    extra_id     NeMo-Aligner's text                         data/templates/extra_id.py
    llama3       Llama 3's and 3.1's headers, written by us  data/templates/llama3.py
    tokenizer    the tokenizer's own chat template           data/templates/chat_template.py

A text has the begin and end tokens that its template writes; tokenising it adds none (data/templates/tokens.py). It
holds every word of its conversation, or the conversation is refused (data/templates/lost.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nemo_hs2pref.data.records import Message, check_turns
from nemo_hs2pref.data.templates import chat_template, extra_id, llama3
from nemo_hs2pref.data.templates.lost import first_lost
from nemo_hs2pref.errors import ConfigError, DataError


@dataclass(frozen=True)
class Template:
    """What each template is; the second argument is a Hugging Face tokenizer, or None where it needs none."""

    render: Callable[[Sequence[Message], Any], str]
    render_prompt: Callable[[Sequence[Message], Any], str]  # up to where the assistant's response begins
    ends_of_turn: Callable[[Any], tuple[str, ...]]  # of which one stands behind each response
    marker_in: Callable[[Sequence[Message], Any], str | None]  # a marker of the template that stands in a content
    refuse_unfit: Callable[[Any], None]  # ConfigError for a tokenizer that cannot take the text
    keeps_markers: bool = False  # renders such a content all the same


TEMPLATES = {
    "extra_id": Template(
        extra_id.render,
        extra_id.render_prompt,
        extra_id.ends_of_turn,
        extra_id.marker_in,
        extra_id.refuse_unfit,
        keeps_markers=True,
    ),
    "llama3": Template(llama3.render, llama3.render_prompt, llama3.ends_of_turn, llama3.marker_in, llama3.refuse_unfit),
    "tokenizer": Template(
        chat_template.render,
        chat_template.render_prompt,
        chat_template.ends_of_turn,
        chat_template.marker_in,
        chat_template.refuse_unfit,
    ),
}
DEFAULT_TEMPLATE = "extra_id"


class MarkerInText(DataError):
    """A content holds a marker of the template."""


def render(
    messages: Sequence[Message],
    template: str = DEFAULT_TEMPLATE,
    tokenizer: Any = None,
    *,
    may_be_empty: bool = False,
) -> str:
    """The text of a conversation that ends with the response to be judged.

    Args:
        messages: in turn, the last one the assistant's.
        template: a name of TEMPLATES.
        tokenizer: a Hugging Face tokenizer; only the template `tokenizer` needs it.
        may_be_empty: whether the response may; it can be judged, but nothing is trained on it.

    Raises:
        ConfigError: unknown template, or a tokenizer without a chat template.
        DataError: messages out of turn, empty, or not ending with the assistant; roles that the chat template
            refuses; a content that the template leaves out, or a part of it.
        MarkerInText: a content with a marker of the template (not with `extra_id`: see forges_turns).
    """
    text = write(messages, template, tokenizer, may_be_empty=may_be_empty)
    refuse_lost(messages, text, template, tokenizer)
    return text


def render_prompt(messages: Sequence[Message], template: str, tokenizer: Any = None) -> str:
    """The text of a conversation that ends with the user, up to where the assistant's response begins.

    Raises as `render`, for messages that do not end with the user.
    """
    chosen = named(template)
    check_turns(messages, last="user")
    if not chosen.keeps_markers:
        _refuse_marker(messages, template, chosen.marker_in(messages, tokenizer))
    text = chosen.render_prompt(messages, tokenizer)
    _refuse_lost(first_lost(messages, text, lambda other: chosen.render_prompt(other, tokenizer)), messages, template)
    return text


def write(messages: Sequence[Message], template: str, tokenizer: Any = None, *, may_be_empty: bool = False) -> str:
    """As `render`, also where the template leaves out something."""
    chosen = named(template)
    check_turns(messages, last="assistant", may_end_empty=may_be_empty)
    if not chosen.keeps_markers:
        _refuse_marker(messages, template, chosen.marker_in(messages, tokenizer))
    return chosen.render(messages, tokenizer)


def refuse_lost(messages: Sequence[Message], text: str, template: str, tokenizer: Any = None) -> None:
    """DataError with the first message that does not stand in its text."""
    _refuse_lost(first_lost(messages, text, lambda other: named(template).render(other, tokenizer)), messages, template)


def _refuse_lost(place: int | None, messages: Sequence[Message], template: str) -> None:
    if place is not None:
        message = messages[place]
        raise DataError(
            f"message {place + 1}, of the {message.role}, {message.content!r:.60}, does not stand in the text that the "
            f"template {template} makes, or not as a whole; leave the row out, or choose another template"
        )


def forges_turns(messages: Sequence[Message], template: str = DEFAULT_TEMPLATE, tokenizer: Any = None) -> bool:
    """Whether a content holds a marker of the template, so that its text would be read as other turns.

    `render` refuses such a conversation, except with `extra_id`, whose text stays what Aligner makes of the same row.
    """
    return named(template).marker_in(messages, tokenizer) is not None


def named(template: str) -> Template:
    """The template of this name; ConfigError with the known ones where there is none."""
    if template not in TEMPLATES:
        raise ConfigError(f"template {template!r} is unknown; the templates are {', '.join(TEMPLATES)}")
    return TEMPLATES[template]


def _refuse_marker(messages: Sequence[Message], template: str, marker: str | None) -> None:
    for number, message in enumerate(messages, start=1):
        if marker is not None and marker in message.content:
            raise MarkerInText(
                f"message {number}, of the {message.role}, {message.content!r:.60}, holds {marker}, with which the "
                f"template {template} divides turns; leave the row out, or choose another template"
            )
