r"""The text of Llama 3 and 3.1, written out so that it does not depend on a tokenizer's files.

    <|begin_of_text|><|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|> ...

Contents lose the white space around them, as in Meta's own code and template. There is no system message where none
is given, and no date, which Llama 3.1's template puts before every conversation. The text ends with the response's
`<|eot_id|>`, which is the position that is read out.
"""

from collections.abc import Sequence
from typing import Any

from nemo_hs2pref.data.records import Message
from nemo_hs2pref.errors import ConfigError

BEGIN, START, END, END_OF_TURN = "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
MARKERS = (BEGIN, START, END, END_OF_TURN)


def render(messages: Sequence[Message], tokenizer: Any = None) -> str:
    turns = (f"{START}{message.role}{END}\n\n{message.content.strip()}{END_OF_TURN}" for message in messages)
    return BEGIN + "".join(turns)


def render_prompt(messages: Sequence[Message], tokenizer: Any = None) -> str:
    return f"{render(messages)}{START}assistant{END}\n\n"


def ends_of_turn(tokenizer: Any = None) -> tuple[str, ...]:
    return (END_OF_TURN,)


def marker_in(messages: Sequence[Message], tokenizer: Any = None) -> str | None:
    """The first marker that a content holds."""
    return next((marker for marker in MARKERS for message in messages if marker in message.content), None)


def refuse_unfit(tokenizer: Any) -> None:
    """Where a marker is several tokens, the model never saw it, and its last piece would be read out unnoticed."""
    for marker in MARKERS:
        tokens = tokenizer(marker, add_special_tokens=False)["input_ids"]
        if len(tokens) != 1 or tokens[0] == tokenizer.unk_token_id:
            raise ConfigError(
                f"template llama3: {marker} is not one token of the tokenizer {tokenizer.name_or_path}; "
                "it is for Llama 3 and 3.1, choose extra_id or tokenizer"
            )
