"""A conversation that ends with a response, in any known form, as {"messages": [messages], ...}."""

from nemo_hs2pref.data.fields import given
from nemo_hs2pref.data.forms.messages import messages_of
from nemo_hs2pref.data.forms.prompt import SYSTEM_KEYS, one_of, same_turns, with_system
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.unread import is_empty
from nemo_hs2pref.errors import DataError

CONVERSATION_KEYS = ("messages", "conversations")
READ = frozenset({*CONVERSATION_KEYS, *SYSTEM_KEYS, "prompt"})


def conversation_row(row: Row) -> Row:
    """The row with "messages", the system message among them; a prompt beside them must be the one they begin with."""
    key = one_of(row, CONVERSATION_KEYS, "conversation") or "messages"
    messages = messages_of(key, given(row, key), may_be_text=False)
    if not is_empty(row.get("prompt")):
        _refuse_other_prompt(messages_of("prompt", row["prompt"], may_be_text=True), messages)
    rest = {key: value for key, value in row.items() if key not in READ}
    return {**rest, "messages": with_system(row, messages)}


def _refuse_other_prompt(prompt: list[Row], messages: list[Row]) -> None:
    turns = [message for message in messages if message["role"] != "system"]
    if not same_turns(prompt, messages[: len(prompt)]) and not same_turns(prompt, turns[: len(prompt)]):
        raise DataError('"prompt" is not what "messages" begin with; take one of them out')
