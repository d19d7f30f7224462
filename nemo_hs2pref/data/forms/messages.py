"""Turns in anybody's spelling as {"role", "content"}.

{"role": "user", "content": "Hi"}                                      the usual one
{"role": "user", "content": [{"type": "text", "text": "Hi"}, ...]}     OpenAI's parts of a content
{"from": "human", "value": "Hi"}                                       ShareGPT's
"""

import re
from typing import Any

from nemo_hs2pref.data.fields import given
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.errors import DataError

SHAREGPT_ROLES = {
    **{"human": "user", "user": "user", "system": "system"},
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bard", "bing", "model"), "assistant"),
}
PACKED = re.compile(r"\s*\[\s*\{\s*[\"'](role|content|from|value)[\"']\s*:")
TEXT_PARTS = ("text", "input_text", "output_text")


def messages_of(key: str, value: Any, *, may_be_text: bool) -> list[Row]:
    """The turns of a key's value, in order; `may_be_text`: a text is the user's only turn."""
    if isinstance(value, str) and may_be_text:
        refuse_packed(key, value)
        return [{"role": "user", "content": value}]
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        expected = 'text or a list of {"role", "content"}' if may_be_text else 'a list of {"role", "content"}'
        raise DataError(f'"{key}" is {value!r:.40}; expected {expected}')
    return [message_of(message) for message in value]


def refuse_packed(key: str, text: str) -> None:
    """Tables without lists, as CSV and pandas', keep messages as JSON or Python text, which would be one long turn."""
    if PACKED.match(text) and text.rstrip().endswith("}]"):
        raise DataError(f'"{key}" is a list of messages kept as text; store it as a list, as json.loads makes of it')


def message_of(message: Row) -> Row:
    """One turn; its role is whatever stands there, ShareGPT's excepted."""
    if message.get("role") is None and message.get("from") is not None:
        return {"role": _role(message["from"]), "content": _content(given(message, "value"))}
    return {"role": given(message, "role"), "content": _content(given(message, "content"))}


def _role(speaker: Any) -> str:
    if not isinstance(speaker, str) or speaker not in SHAREGPT_ROLES:
        raise DataError(f'"from" is {speaker!r:.40}; expected one of {", ".join(SHAREGPT_ROLES)}')
    return SHAREGPT_ROLES[speaker]


def _content(content: Any) -> Any:
    """The texts of all parts, one behind the other, as chat templates write them."""
    if not isinstance(content, list):
        return content
    return "".join(_text(part) for part in content)


def _text(part: Any) -> str:
    if isinstance(part, dict) and part.get("type") in TEXT_PARTS and isinstance(part.get("text"), str):
        return part["text"]
    found = f'a part of the type "{part["type"]}"' if isinstance(part, dict) and part.get("type") else f"{part!r:.40}"
    raise DataError(f'"content" holds {found}; only text is read, in parts like {{"type": "text", "text": "..."}}')
