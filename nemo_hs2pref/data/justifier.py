r"""SFT rows of the paper's Pairwise Justifier, which reads two responses, says why one is better, and ends with which.

    {prompt} @Response 1:\n{response 1}\n@Response 2:\n{response 2}
    Between @Response 1 and @Response 2, which is better?        ->  {elaboration} {statement}

The layout is the paper's [read: its poster's text, which may have lost a line break before the first marker]. Of a
prompt of several turns the earlier ones stay turns, and the last user turn is {prompt}: in the extra_id template this
is the text that the paper's own prompt, which embeds its turns, gives.
"""

import re
from collections.abc import Iterator

from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.records import Message, PreferencePair

QUESTION = "Between @Response 1 and @Response 2, which is better?"
# Released justifications write @Response 1; other people's may leave out the @.
RESPONSE = re.compile(r"(@response ?|\bresponse )([12])\b", re.IGNORECASE)


def justification_of(elaboration: str | None, statement: str | None) -> str | None:
    """The two as one text, in which the statement, which holds the verdict, comes last; None where it is missing."""
    if not (statement and statement.strip()):
        return None
    return " ".join(part.strip() for part in (elaboration, statement) if part and part.strip())


def swap_responses(justification: str) -> str:
    """The same reason where response 1 and response 2 have changed places."""
    return RESPONSE.sub(lambda found: found[1] + str(3 - int(found[2])), justification)


def judge_prompt(prompt: tuple[Message, ...], first: str, second: str) -> tuple[Message, ...]:
    """The prompt with both responses in its last turn, and the question."""
    *before, asked = prompt
    responses = f"@Response 1:\n{first}\n@Response 2:\n{second}"
    return (*before, Message("user", f"{asked.content} {responses}\n{QUESTION}"))


def justifier_rows(pair: PreferencePair) -> Iterator[Row]:
    """{"id", "messages"} in both orders, with the ids "<id>:12" and "<id>:21".

    None of a pair without a justification, or without the position that says which response it speaks of.
    """
    if pair.justification is None or pair.chosen_position is None:
        return
    first, second = pair.chosen, pair.rejected
    if pair.chosen_position == 2:
        first, second = second, first
    yield _row(f"{pair.id}:12", judge_prompt(pair.prompt, first, second), pair.justification)
    yield _row(f"{pair.id}:21", judge_prompt(pair.prompt, second, first), swap_responses(pair.justification))


def _row(name: str, prompt: tuple[Message, ...], reason: str) -> Row:
    messages = (*prompt, Message("assistant", reason))
    return {"id": name, "messages": [message.to_json() for message in messages]}
