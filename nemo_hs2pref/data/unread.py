"""What a row holds beyond the keys that are read: refused where it changes what the row says, else counted by name.

A key that is null or empty is as good as absent: tables fill in the columns that other rows have.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.outside import one_line

_TOOLS = "the tools that the model could call are a part of what it was asked"
_CALL = "a call is a part of the answer, and no template here writes it"
_RESULT = "what a tool answered is a part of what the model read, and no template here writes it"
_NOT_TEXT = "only text is read, and the answer is about more than that"
_THOUGHTS = "these words are a part of the answer, and the text would lack them"

# Key of a row -> what is lost without it.
OF_ROWS = {
    **dict.fromkeys(("system", "system_prompt", "system_message"), "it says how the model was to answer"),
    **dict.fromkeys(("tools", "functions", "available_tools"), _TOOLS),
    **dict.fromkeys(("tool_calls", "function_call"), _CALL),
    "documents": "chat templates write documents into the prompt",
    "history": "earlier turns are a part of the prompt",
    "chat_template_kwargs": "they change the text that a chat template makes",
    **dict.fromkeys(("image", "images", "video", "videos", "audio", "audios"), _NOT_TEXT),
}
# Key of a message -> what is lost without it.
OF_MESSAGES = {
    **dict.fromkeys(("tools", "functions"), _TOOLS),
    **dict.fromkeys(("tool_calls", "function_call"), _CALL),
    **dict.fromkeys(("content", "value"), "a message has one text, as role and content or as from and value"),
    **dict.fromkeys(("reasoning_content", "reasoning", "thinking", "refusal"), _THOUGHTS),
    "documents": "chat templates write documents into the prompt",
    **dict.fromkeys(("image", "images", "video", "videos", "audio", "audios"), _NOT_TEXT),
}
# Role of a message -> what is lost without it.
ROLES = {
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "ipython"), _RESULT),
    **dict.fromkeys(("function_call", "tool_call"), _CALL),
}
ROLE_AND_CONTENT, FROM_AND_VALUE = ("role", "content"), ("from", "value")  # of a message, in its two spellings
EMPTY_TEXTS = ("[]", "{}", "null", "None")  # lists and objects are often kept as text


def unread(row: Row, read: Collection[str]) -> list[str]:
    """The names of what is given and not read, those of messages as "chosen: name".

    Args:
        row: as it stands in a file.
        read: the keys that its reader reads.

    Raises:
        DataError: one of them changes what the row says.
    """
    names: list[str] = []
    for key, value in row.items():
        if key not in read and not is_empty(value) and value not in EMPTY_TEXTS:
            _refuse(f'"{key}"', OF_ROWS.get(key))
            names.append(key)
        if key in read and isinstance(value, list | dict):
            names += dict.fromkeys(f"{key}: {name}" for message in _messages(value) for name in _unread(message))
    return names


def named(ignored: Mapping[str, int]) -> str:
    """Keys with the number of rows that have them, the most frequent first."""
    return ", ".join(
        f"{one_line(key)} ({rows:,})" for key, rows in sorted(ignored.items(), key=lambda one: (-one[1], one[0]))
    )


def is_empty(value: Any) -> bool:
    """Whether nothing is said: null, NaN, false, no text, no element, or nothing but such."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, dict):
        return all(map(is_empty, value.values()))
    if isinstance(value, list):
        return all(map(is_empty, value))
    return value is None or value is False or value != value


def _messages(value: Any) -> Iterator[Row]:
    """All objects with a role, in lists and objects of whatever depth."""
    if isinstance(value, dict):
        if "role" in value or "from" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            if isinstance(item, list | dict):
                yield from _messages(item)


def _unread(message: Row) -> Iterator[str]:
    role = message.get("role", message.get("from"))
    if isinstance(role, str) and role in ROLES:
        _refuse(f'the role "{role}"', ROLES[role])
    read = ROLE_AND_CONTENT if "role" in message else FROM_AND_VALUE
    for key, value in message.items():
        if key not in read and not is_empty(value) and value not in EMPTY_TEXTS:
            _refuse(f'"{key}" of a message', OF_MESSAGES.get(key))
            yield key


def _refuse(what: str, lost: str | None) -> None:
    if lost is not None:
        raise DataError(f"{what} is not read, and the row would say something else without it: {lost}")
