r"""NeMo-Aligner's text, and the turns that such a text is made of.

    <extra_id_0>System\n{system}\n<extra_id_1>User\n{user}\n<extra_id_1>Assistant\n{response}\n<extra_id_2>

Released reward models were trained on it, so it stays byte for byte. The markers are ordinary text to most tokenizers;
the position that is read out is the last token of `<extra_id_2>`.
"""

import re
from collections.abc import Sequence
from typing import Any

from nemo_hs2pref.data.records import Message, Role, check_turns
from nemo_hs2pref.errors import DataError

# The sentence of Aligner's SteerLM preprocessing, word for word.
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
HEAD, END = "<extra_id_0>System\n", "\n<extra_id_2>"
TURN = "<extra_id_1>"
TURN_MARKER = re.compile(rf"\n{TURN}(Assistant|User)\n")
NAMES: dict[Role, str] = {"user": "User", "assistant": "Assistant"}
ROLES: dict[str, Role] = {name: role for role, name in NAMES.items()}


def render(messages: Sequence[Message], tokenizer: Any = None) -> str:
    """The fixed system sentence stands where the conversation has no system message; a given one takes its place."""
    system, turns = _system_and_turns(messages)
    return f"{HEAD}{system}" + "".join(f"\n{TURN}{NAMES[turn.role]}\n{turn.content}" for turn in turns) + END


def render_prompt(messages: Sequence[Message], tokenizer: Any = None) -> str:
    return f"{render(messages).removesuffix(END)}\n{TURN}{NAMES['assistant']}\n"


def ends_of_turn(tokenizer: Any = None) -> tuple[str, ...]:
    """What stands behind a response: the marker of the next turn, or of the end."""
    return f"\n{TURN}", END


def marker_in(messages: Sequence[Message], tokenizer: Any = None) -> str | None:
    """The marker, where a content has a line that reads as the start of a turn; the text would be another chat's."""
    return None if _split(render(messages)) == _system_and_turns(messages) else TURN


def refuse_unfit(tokenizer: Any) -> None:
    """Any tokenizer takes ordinary text."""


def parse_text(text: str) -> tuple[Message, ...]:
    """The conversation that `render` makes `text` of; the fixed system sentence gives no system message.

    Raises DataError where the text has another frame, the turns do not alternate, one is empty, or the last is not
    the assistant's.
    """
    if not (text.startswith(HEAD) and text.endswith(END)):
        raise DataError(f"the text is {text!r:.60}; expected {HEAD!r} at its start and {END!r} at its end")
    system, turns = _split(text)
    check_turns(turns, last="assistant")
    return turns if system == SYSTEM else (Message("system", system), *turns)


def split_prompt(prompt: str) -> tuple[Message, ...]:
    r"""The turns of a prompt of HelpSteer2, in which the first and the last turn carry no outer marker:

        {user}\n<extra_id_1>Assistant\n{assistant}\n<extra_id_1>User\n{user}

    Raises DataError where the turns do not alternate, one is empty, or the last is not the user's.
    """
    _, turns = _split(f"{HEAD}\n{TURN}User\n{prompt}{END}")
    check_turns(turns, last="user")
    return turns


def _split(text: str) -> tuple[str, tuple[Message, ...]]:
    """The system sentence and the turns, in whatever order they are."""
    system, *rest = TURN_MARKER.split(text[len(HEAD) : -len(END)])
    return system, tuple(Message(ROLES[name], content) for name, content in zip(rest[::2], rest[1::2], strict=True))


def _system_and_turns(messages: Sequence[Message]) -> tuple[str, tuple[Message, ...]]:
    """The system sentence as it is written, and the turns of user and assistant."""
    if messages[0].role == "system":
        return messages[0].content, tuple(messages[1:])
    return SYSTEM, tuple(messages)
