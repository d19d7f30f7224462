"""A compared pair of responses in any known form as {"prompt": [messages], "chosen": text, "rejected": text, ...}.

    prompt     text, or messages; or absent, where both sides begin with it
    sides      texts, single messages, or lists of messages, which may begin with the prompt

The prompt's key is one of PROMPT_KEYS. Where a prompt stands apart and the sides are whole conversations, both must be
the same, but for a system message that only one has, and for earlier turns, if the prompt is a text: UltraFeedback's is
the first turn of the user.
"""

from collections.abc import Sequence, Set
from itertools import takewhile

from nemo_hs2pref.data.fields import given
from nemo_hs2pref.data.forms import helpsteer3, nemo_rl
from nemo_hs2pref.data.forms.messages import messages_of, refuse_packed
from nemo_hs2pref.data.forms.prompt import PROMPT_KEYS, SYSTEM_KEYS, one_of, same_text, same_turns, with_system
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.unread import is_empty
from nemo_hs2pref.errors import DataError

SIDES = ("chosen", "rejected")
FORMS = (helpsteer3, nemo_rl)  # what is turned into chosen and rejected first
ANSWERS = (helpsteer3.KEYS | nemo_rl.KEYS) - {*PROMPT_KEYS, "domain"}  # responses, and which of them is better
READ = frozenset({*PROMPT_KEYS, *SYSTEM_KEYS, *SIDES, "messages"}).union(*(form.KEYS for form in FORMS))


def is_pair(row: Row) -> bool:
    """Whether a row compares two responses."""
    return row.keys() >= set(SIDES) or any(form.fits(row) for form in FORMS)


def pair_row(row: Row) -> Row:
    """The row with "prompt" as messages and the sides as texts; DataError where it has another form."""
    for form in FORMS:
        if form.fits(row):
            _refuse_both_forms(row, form.KEYS)
            row = form.pair_row(row)
    _refuse_other_answers(row)
    sides = [_side(name, given(row, name)) for name in SIDES]
    key = one_of(row, PROMPT_KEYS, "prompt")
    if not any(isinstance(side, list) for side in sides):
        key = key or "prompt"
        prompt, (chosen, rejected) = messages_of(key, given(row, key), may_be_text=True), sides
    else:
        prompt, chosen, rejected = _of_conversations(sides, row, key)
    _refuse_other_messages(row, [*prompt, {"role": "assistant", "content": chosen}])
    rest = {key: value for key, value in row.items() if key not in READ}
    return {**rest, "prompt": with_system(row, prompt), "chosen": chosen, "rejected": rejected}


def _refuse_other_answers(row: Row) -> None:
    """Parts of another form, which may say that the other response is better."""
    if other := [key for key in sorted(ANSWERS) if not is_empty(row.get(key))]:
        named = ", ".join(f'"{key}"' for key in other)
        raise DataError(
            f'{named} stand beside "chosen" and "rejected", and say something of responses too; take one out'
        )


def _refuse_both_forms(row: Row, keys: Set[str]) -> None:
    for side in SIDES:
        if not is_empty(row.get(side)):
            other = ", ".join(f'"{key}"' for key in sorted(keys & row.keys()))
            raise DataError(f'"{side}" stands beside {other}, which say which response is better too; give one of them')


def _side(name: str, side: object) -> object:
    """Messages; a text stays one."""
    if isinstance(side, dict):
        side = [side]
    if isinstance(side, str):
        refuse_packed(name, side)
    return messages_of(name, side, may_be_text=False) if isinstance(side, list) else side


def _of_conversations(sides: Sequence[object], row: Row, key: str | None) -> tuple[list[Row], object, object]:
    """The prompt, from the row's key or from what both sides begin with, and the texts of the two last messages."""
    lists: list[list[Row]] = []
    for name, side in zip(SIDES, sides, strict=True):
        if not isinstance(side, list) or not side:
            raise DataError(f'"{name}" is {side!r:.40}; expected a list of {{"role", "content"}}, as of the other side')
        lists.append(side)
    both = zip(lists[0][:-1], lists[1][:-1], strict=False)
    shared = [first for first, _ in takewhile(lambda pair: pair[0] == pair[1], both)]
    prompt = _joined(shared, row, key)
    chosen, rejected = (_response(name, side, len(shared)) for name, side in zip(SIDES, lists, strict=True))
    return prompt, chosen, rejected


def _joined(shared: list[Row], row: Row, key: str | None) -> list[Row]:
    """The turns that both sides begin with, and the prompt that may stand apart, as one."""
    if key is None:
        return shared
    prompt = messages_of(key, row[key], may_be_text=True)
    turns = [message for message in shared if message["role"] != "system"]
    is_first_turn = isinstance(row[key], str) and bool(turns) and same_text(row[key], turns[0]["content"])
    if is_first_turn or same_turns(prompt, shared) or same_turns(prompt, turns):
        return shared
    if not shared or (prompt[0]["role"] == "system" and same_turns(prompt[1:], shared)):
        return prompt
    raise DataError(f'"{key}" is not what "chosen" and "rejected" begin with; give the prompt once, or the same')


def _response(name: str, side: list[Row], num_shared: int) -> object:
    """The text of the one message behind what the sides share."""
    rest = side[num_shared:]
    if len(rest) != 1 or rest[0]["role"] != "assistant":
        raise DataError(f'"{name}" has {len(rest)} messages behind the prompt; expected one, of the assistant')
    return rest[0]["content"]


def _refuse_other_messages(row: Row, chosen: list[Row]) -> None:
    """UltraFeedback repeats the chosen conversation as "messages"; anything else there would be lost."""
    if is_empty(row.get("messages")):
        return
    messages = messages_of("messages", row["messages"], may_be_text=False)
    if not same_turns(messages, chosen) and not same_turns(messages, chosen[:-1]):
        raise DataError('"messages" is neither the prompt nor the chosen conversation; take it out, or the other keys')
