"""What makes a well-formed task unusable all the same: a reason to drop it.

empty_response   a response without text
bad_turns        the turns of the prompt do not alternate, or one is empty
"""

from collections.abc import Sequence

from nemo_hs2pref.data.records import Message, check_turns
from nemo_hs2pref.data.templates.extra_id import split_prompt
from nemo_hs2pref.errors import DataError

RESPONSES_PER_PROMPT = 2  # HelpSteer2's


def fault_of_texts(prompt: str, *responses: str) -> str | None:
    """The reason, if there is one, of an official row, whose prompt holds its turns."""
    try:
        return fault_of_turns(split_prompt(prompt), *responses)
    except DataError:
        return "bad_turns" if all(response.strip() for response in responses) else "empty_response"


def fault_of_turns(prompt: Sequence[Message], *responses: str) -> str | None:
    """The reason, if there is one, of a task whose prompt is messages."""
    if not all(response.strip() for response in responses):
        return "empty_response"
    try:
        check_turns(prompt, last="user")
    except DataError:
        return "bad_turns"
    return None
