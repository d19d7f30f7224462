"""Which key of a row holds its prompt, and the system message that may stand beside it."""

from collections.abc import Sequence
from typing import Any

from nemo_hs2pref.data.fields import text
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.unread import is_empty
from nemo_hs2pref.errors import DataError

PROMPT_KEYS = ("prompt", "input", "question", "query", "instruction", "context", "conversations")
SYSTEM_KEYS = ("system", "system_prompt", "system_message")


def one_of(row: Row, keys: tuple[str, ...], what: str) -> str | None:
    """The one of these keys that says something, None where none does; DataError where two say different things."""
    found = [key for key in keys if not is_empty(row.get(key))]
    if any(row[key] != row[found[0]] for key in found):
        named = " and ".join(f'"{key}"' for key in found)
        raise DataError(f"{named} could each be the {what}, and nothing says how they go together; give one of them")
    return found[0] if found else None


def with_system(row: Row, messages: list[Row]) -> list[Row]:
    """The turns behind the row's system message; DataError where they begin with another one."""
    key = one_of(row, SYSTEM_KEYS, "system message")
    if key is None:
        return messages
    system: Row = {"role": "system", "content": text(row, key)}
    if not messages or messages[0]["role"] != "system":
        return [system, *messages]
    if not same_text(messages[0]["content"], system["content"]):
        raise DataError(f'"{key}" and the system message at the start of the turns differ; give one of them')
    return messages


def same_text(one: Any, other: Any) -> bool:
    """But for white space around it."""
    return isinstance(one, str) and isinstance(other, str) and one.strip() == other.strip()


def same_turns(one: Sequence[Row], other: Sequence[Row]) -> bool:
    """The same roles with the same texts."""
    return len(one) == len(other) and all(
        a["role"] == b["role"] and same_text(a["content"], b["content"]) for a, b in zip(one, other, strict=True)
    )
