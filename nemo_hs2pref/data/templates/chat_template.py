"""The text of the tokenizer's own chat template, the Jinja source that its files carry.

The last token of the text is read out, whichever it is: it has seen the whole conversation. Templates that close the
response have the same token there in every row (a marker, or the line break after it in ChatML), as a reward head
wants it; one that ends with the response itself has the response's last token there, and fits less well.

A template that writes the date gets 26 July 2024, which is what Llama 3.1's writes where it is told none: the same
rows give the same tokens on every day.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates import bounded
from nemo_hs2pref.data.tokenizers import without_default
from nemo_hs2pref.errors import ConfigError, DataError

TODAY = date(2024, 7, 26)


def render(messages: Sequence[Message], tokenizer: Any, **settings: Any) -> str:
    """Raises ConfigError where there is no template, DataError where it gives no text of these messages."""
    refuse_unfit(tokenizer)
    dates = {"strftime_now": TODAY.strftime, "date_string": TODAY.strftime("%d %b %Y")}
    try:
        return bounded.render(tokenizer, [message.to_json() for message in messages], **dates, **settings)
    except bounded.TemplateFault as fault:
        roles = ", ".join(message.role for message in messages)
        raise DataError(
            f"the chat template of the tokenizer {tokenizer.name_or_path} refuses the roles {roles} ({fault}); "
            "choose another template, or leave these rows out"
        ) from None


def render_prompt(messages: Sequence[Message], tokenizer: Any) -> str:
    return render(messages, tokenizer, add_generation_prompt=True)


def ends_of_turn(tokenizer: Any) -> tuple[str, ...]:
    """Every special token: the first one behind a response ends it."""
    return tuple(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)


def marker_in(messages: Sequence[Message], tokenizer: Any) -> str | None:
    """The first special token that the template writes around these turns and that a content holds as well.

    Those that the template does not write, such as `<filename>` of SmolLM2, cannot forge a turn. Markers that are
    ordinary text to the tokenizer, such as Llama 2's `[INST]`, are not looked for.
    """
    frame = render([replace(message, content="x") for message in messages], tokenizer)
    special = (token.content for token in tokenizer.added_tokens_decoder.values() if token.content in frame)
    return next((marker for marker in special for message in messages if marker in message.content), None)


def refuse_unfit(tokenizer: Any) -> None:
    """Raises ConfigError where there is no template."""
    if tokenizer is None:
        raise ConfigError("template tokenizer: no tokenizer is given, whose chat template it is")
    if tokenizer.chat_template is None:
        raise ConfigError(
            f"template tokenizer: the tokenizer {tokenizer.name_or_path} has no chat template; "
            "choose extra_id or llama3"
        )
    if (names := without_default(tokenizer.chat_template)) is not None:
        raise ConfigError(
            f"template tokenizer: the tokenizer {tokenizer.name_or_path} has chat templates ({', '.join(names)}) and "
            "none is the default; write the one that is meant into its chat_template.jinja"
        )
