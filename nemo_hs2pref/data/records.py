"""What a row of data is, and the readers of the project's own three formats.

    ratings.*.jsonl   {"id", "messages": [...], "attributes": {"helpfulness": 3, ...}}      read_ratings
    pairs.*.jsonl     {"id", "prompt": [...] or str, "chosen", "rejected", "strength"?, "subset"?,
                       "justification"?, "chosen_position"?,
                       "chosen_attributes"?: {...}, "rejected_attributes"?: {...}}          read_pairs
    rows.jsonl        {"id", "messages": [...]}                                             read_rows

A message is {"role", "content"}. Messages start with the user, or with one system message, which may also stand beside
them as "system"; user and assistant take turns; a prompt ends with the user, `messages` with the assistant, whose last
message is the response in question. Rows in the forms of other projects (data/forms/) are read too. Further keys are
counted, or refused where they change what the row says (data/unread.py). Ids are unique within a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Literal, get_args

from nemo_hs2pref.data.collecting import Account, collect
from nemo_hs2pref.data.fields import given, integer, is_absent, nonempty, numbers, text, whole
from nemo_hs2pref.data.forms import conversations, pairs
from nemo_hs2pref.data.forms.messages import messages_of
from nemo_hs2pref.data.forms.prompt import SYSTEM_KEYS, one_of, with_system
from nemo_hs2pref.data.jsonl import Row, write_jsonl
from nemo_hs2pref.data.reading.row_files import read_jsonl
from nemo_hs2pref.errors import DataError

__all__ = [
    "ATTRIBUTES",
    "HELPSTEER_ATTRIBUTES",
    "IGNORED",
    "Conversation",
    "Message",
    "PreferencePair",
    "RatedResponse",
    "read_jsonl",
    "read_pairs",
    "read_ratings",
    "read_rows",
    "write_jsonl",
]

HELPSTEER_ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
# Output slots of the reward head, in NeMo-Aligner's order, so that released checkpoints fit; the first four are
# Open Assistant's. Helpfulness, slot 4, is the reward of the paper's model.
ATTRIBUTES = ("quality", "toxicity", "humor", "creativity", *HELPSTEER_ATTRIBUTES)
IGNORED = -100.0  # Aligner's mark of an attribute that was not rated

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = get_args(Role)

# The keys that each reader below reads.
CONVERSATION_KEYS = conversations.READ | {"id"}
RATING_KEYS = CONVERSATION_KEYS | {"attributes"}
_RATED_SIDES = ("chosen_attributes", "rejected_attributes")
PAIR_KEYS = pairs.READ | {"id", "strength", "subset", "justification", "chosen_position", *_RATED_SIDES}
PROMPT_KEYS = frozenset({"prompt", *SYSTEM_KEYS})
OWN_PROMPT_KEYS = ("prompt", "messages")
PROMPT_ROW_KEYS = frozenset({"id", *OWN_PROMPT_KEYS, *SYSTEM_KEYS})


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str

    def to_json(self) -> Row:
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True)
class Conversation:
    """A prompt with one response, its last message: what a reward model scores."""

    id: str
    messages: tuple[Message, ...]

    def conversations(self) -> tuple["Conversation", ...]:
        """Itself: what a model has to read for this record, as PreferencePair has it for two."""
        return (self,)

    def to_json(self) -> Row:
        return {"id": self.id, "messages": [message.to_json() for message in self.messages]}


@dataclass(frozen=True)
class Prompt:
    """A conversation that ends with the user: what a policy answers."""

    id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class RatedResponse(Conversation):
    """A conversation whose last message was rated; an attribute that was not rated is absent."""

    attributes: Mapping[str, float]

    def to_json(self) -> Row:
        return {**super().to_json(), "attributes": dict(self.attributes)}


@dataclass(frozen=True)
class PreferencePair:
    """One annotated comparison, already oriented."""

    id: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    # 1 slightly better, 2 better, 3 much better; 0: a tie, whose sides mean nothing; None: only the direction is known
    strength: int | None = None
    subset: str | None = None
    # Ratings of the two responses, for objectives that regress on them too; both empty where not both were rated.
    # Left out of the hash, as mappings have none.
    chosen_attributes: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    rejected_attributes: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    justification: str | None = None  # the annotators' reason, which speaks of @Response 1 and @Response 2
    chosen_position: int | None = None  # 1 or 2: which of the two the chosen response was to them

    @property
    def has_equal_responses(self) -> bool:
        """There is nothing to prefer; templates may trim what surrounds a text."""
        return self.chosen.strip() == self.rejected.strip()

    def conversations(self) -> tuple[Conversation, Conversation]:
        """The chosen and the rejected side, with the ids that join them to their scores."""
        return self._side("chosen", self.chosen), self._side("rejected", self.rejected)

    def _side(self, side: str, response: str) -> Conversation:
        return Conversation(f"{self.id}:{side}", (*self.prompt, Message("assistant", response)))

    def to_json(self) -> Row:
        row: Row = {"id": self.id, "prompt": [message.to_json() for message in self.prompt]}
        row |= {"chosen": self.chosen, "rejected": self.rejected}
        optional = {"strength": self.strength, "subset": self.subset}
        optional |= {"justification": self.justification, "chosen_position": self.chosen_position}
        row |= {key: value for key, value in optional.items() if value is not None}
        attributes = {"chosen_attributes": self.chosen_attributes, "rejected_attributes": self.rejected_attributes}
        return row | {key: dict(ratings) for key, ratings in attributes.items() if ratings}


def read_ratings(path: str | Path) -> list[RatedResponse]:
    """All rated responses of a ratings file; DataError names every faulty line."""
    return collect(path, parse_rating, RATING_KEYS, identify=lambda rating: rating.id)


def read_pairs(
    path: str | Path, *, require_strength: bool = True, account: Account | None = None
) -> list[PreferencePair]:
    """All pairs of a pairs file; DataError names every faulty line.

    Args:
        path: the file.
        require_strength: refuse rows without a strength, which the margin and scaled losses need. The regular
            Bradley-Terry loss and evaluation do not, and HH-RLHF has none: there `strength` is None.
        account: what was left out, to be told.
    """

    def parse(row: Row) -> PreferencePair:
        pair = parse_pair(row)
        if require_strength and pair.strength is None:
            raise DataError('no "strength"; the margin and scaled losses need 1, 2 or 3, only the regular one does not')
        return pair

    return collect(path, parse, PAIR_KEYS, identify=lambda pair: pair.id, account=account)


def read_rows(path: str | Path, account: Account | None = None) -> list[Conversation]:
    """All conversations of a rows file; DataError names every faulty line."""
    keys = RATING_KEYS  # rated responses are scored as well as others
    return collect(path, parse_conversation, keys, identify=lambda conversation: conversation.id, account=account)


def read_prompts(path: str | Path, account: Account | None = None) -> list[Prompt]:
    """All prompts of a file; DataError names every faulty line."""
    return collect(path, parse_prompt, PROMPT_ROW_KEYS, identify=lambda prompt: prompt.id, account=account)


def parse_prompt(row: Row) -> Prompt:
    """{"id", "prompt": text or messages}, or {"id", "messages"}, which end with the user."""
    key = one_of(row, OWN_PROMPT_KEYS, "prompt") or "prompt"
    return Prompt(parse_id(row), _messages(row, key, last="user"))


def parse_conversation(row: Row) -> Conversation:
    """{"id", "messages"}, or ShareGPT's {"id", "conversations"}"""
    own = conversations.conversation_row(row)
    return Conversation(parse_id(row), _messages(own, "messages", last="assistant"))


def parse_rating(row: Row) -> RatedResponse:
    """{"id", "messages", "attributes"}"""
    conversation = parse_conversation(row)
    return RatedResponse(conversation.id, conversation.messages, numbers(row, "attributes", ATTRIBUTES))


def parse_pair(row: Row) -> PreferencePair:
    """A pair in any form of data/forms/pairs.py, with those of its optional keys that are given and not null."""
    name, row = parse_id(row), pairs.pair_row(row)
    return PreferencePair(
        id=name,
        prompt=_messages(row, "prompt", last="user"),
        chosen=nonempty(row, "chosen"),
        rejected=nonempty(row, "rejected"),
        strength=None if row.get("strength") is None else integer(row, "strength", 0, 3),
        subset=None if row.get("subset") is None else text(row, "subset"),
        justification=None if row.get("justification") is None else text(row, "justification"),
        chosen_position=None if row.get("chosen_position") is None else integer(row, "chosen_position", 1, 2),
        **_attributes_of_both(row),
    )


def _attributes_of_both(row: Row) -> dict[str, dict[str, float]]:
    """The ratings of both sides by key, or nothing: one rated side gives no pair of rewards to regress on."""
    rated = [key for key in _RATED_SIDES if not is_absent(row.get(key))]
    if len(rated) == 1:
        raise DataError(f'"{rated[0]}" stands alone; give "{_RATED_SIDES[0]}" and "{_RATED_SIDES[1]}", or neither')
    return {key: numbers(row, key, ATTRIBUTES) for key in rated}


def check_turns(messages: Sequence[Message], last: Role, *, may_end_empty: bool = False) -> None:
    """An optional system message, then user and assistant in turn, ending with `last`.

    None of the turns is empty; `may_end_empty`: but the last.
    """
    turns = list(enumerate(messages, start=1))
    if messages and messages[0].role == "system":
        turns = turns[1:]
    for expected, (number, message) in zip(cycle(("user", "assistant")), turns, strict=False):
        if message.role != expected:
            raise DataError(
                f'message {number} has the role "{message.role}", expected "{expected}": '
                "user and assistant take turns after an optional system message"
            )
        if not message.content.strip() and not (may_end_empty and number == len(messages)):
            raise DataError(f"message {number}, of the {message.role}, is empty")
    if not turns or turns[-1][1].role != last:
        raise DataError(f'the last message must have the role "{last}"')


def parse_messages(row: Row, key: str, last: Role) -> tuple[Message, ...]:
    """Messages in whatever turns (see check_turns), the row's system message among them.

    Where the user comes last, a string is the user's only turn.
    """
    value = messages_of(key, given(row, key), may_be_text=last == "user")
    return tuple(_message(message) for message in with_system(row, value))


def _messages(row: Row, key: str, last: Role) -> tuple[Message, ...]:
    messages = parse_messages(row, key, last)
    try:
        check_turns(messages, last)
    except DataError as fault:
        raise DataError(f'"{key}": {fault}') from None
    return messages


def _message(row: Row) -> Message:
    role = given(row, "role")
    if role not in ROLES:
        raise DataError(f'"role" is {role!r:.40}; expected one of {", ".join(ROLES)}')
    return Message(role, text(row, "content"))


def parse_id(row: Row) -> str:
    """Ids join rows to their scores by text; integers are common in other people's files."""
    value = whole(given(row, "id"))
    return nonempty(row, "id") if value is None else str(value)
