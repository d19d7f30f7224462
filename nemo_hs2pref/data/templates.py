"""Conversations as the text that a reward model reads."""

from collections.abc import Callable, Sequence

from nemo_hs2pref.data.records import Message, check_turns
from nemo_hs2pref.errors import ConfigError

# NeMo-Aligner's SteerLM preprocessing, word for word: released reward models were trained on it.
EXTRA_ID_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
EXTRA_ID_MARKERS = {"user": "<extra_id_1>User\n", "assistant": "<extra_id_1>Assistant\n"}


def _extra_id(system: str | None, turns: Sequence[Message]) -> str:
    """NeMo-Aligner's text; the position that is read out is the last token of the final `<extra_id_2>`.

    The fixed system sentence stands where the conversation has no system message; a given one takes its place.
    """
    head = f"<extra_id_0>System\n{EXTRA_ID_SYSTEM if system is None else system}\n"
    body = "".join(f"{EXTRA_ID_MARKERS[turn.role]}{turn.content}\n" for turn in turns)
    return f"{head}{body}<extra_id_2>"


# name -> function of (system message or None, turns of user and assistant in turn)
TEMPLATES: dict[str, Callable[[str | None, Sequence[Message]], str]] = {"extra_id": _extra_id}
DEFAULT_TEMPLATE = "extra_id"


def render(messages: Sequence[Message], template: str = DEFAULT_TEMPLATE) -> str:
    """The text of a conversation that ends with the response to be judged.

    Raises:
        ConfigError: unknown template.
        DataError: messages out of turn, empty, or not ending with the assistant.
    """
    if template not in TEMPLATES:
        raise ConfigError(f"template {template!r} is unknown; the templates are {', '.join(TEMPLATES)}")
    check_turns(messages, last="assistant")
    has_system = messages[0].role == "system"
    return TEMPLATES[template](messages[0].content if has_system else None, messages[has_system:])
