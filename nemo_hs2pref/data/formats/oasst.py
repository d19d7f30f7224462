"""OpenAssistant Conversations (arXiv 2304.07327): each labelled assistant message of a tree as a rated response.

A line is a tree, {"message_tree_id", "prompt": MESSAGE}; a message is {"message_id", "role": "prompter" or
"assistant", "text", "labels": {"quality": {"value": 0.75, "count": 3}, ...} or null, "replies": [MESSAGE, ...]}.
The messages on the path from the root are the conversation. Dropped, by the first reason that applies:

    unlabelled        an assistant message with none of the four labels
    empty_response    without text
    bad_turns         the roles on the path do not alternate, or an earlier message is empty

[read] NeMo-Aligner's preprocessing (examples/nlp/data/steerlm/preprocess_openassistant_data.py) takes
- all trees, also low-grade, halted and deleted ones (2023-04-12_oasst_all.trees), since SteerLM learns from them too;
- all languages;
- the labels quality, toxicity, humor and creativity, values 0..1 times 4, rounded (a half to the even number);
- not the official splits: trees shuffled with seed 10, the first 95 % train, the others validation.
So does this module, with the same split. [ours] The ready-for-export trees, without spam and deleted messages, are
read too. [ours] A message is one row; Aligner has one for every thread that leads through it, so that there a message
with many continuations counts as often. [ours] The two last reasons above; Aligner drops nothing.

HelpSteer2's baseline (arXiv 2406.08673, Table 3, "Open Assistant"): one epoch [read], of these rows [inferred].
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nemo_hs2pref.data.fields import given, is_number, nonempty, text
from nemo_hs2pref.data.groups import Dropped, Found, Kept, Split
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.reading.rows import Reading
from nemo_hs2pref.data.reading.sources import Release, Table
from nemo_hs2pref.data.records import ATTRIBUTES, Message, RatedResponse, Role, check_turns
from nemo_hs2pref.errors import DataError

RELEASE = Release(
    "OpenAssistant/oasst1",
    ({"trees": "2023-04-12_oasst_all.trees.jsonl"}, {"trees": "2023-04-12_oasst_ready.trees.jsonl"}),
)
TREE_KEYS = frozenset({"message_tree_id", "tree_state", "prompt", "origin"})
LABELS = ATTRIBUTES[:4]
HIGHEST = 4  # of the Likert-5 scale that starts at 0
TRAIN_SHARE = 0.95
SPLIT_SEED = 10  # Aligner's, and not the seed of the shuffle: the validation trees are always the same
ROLES: dict[str, Role] = {"prompter": "user", "assistant": "assistant"}


def read(tables: Mapping[str, Table], reading: Reading) -> Iterator[Found]:
    """The rated responses of each split; trees are divided, so that no prompt is in both."""
    table = tables["trees"]
    splits = _splits(sum(1 for _ in table.rows(lambda _: None)))
    for line in reading.rows(table, _parse_tree, TREE_KEYS):
        split = splits[line.number - 1]
        for response in line.record:
            if not reading.is_new(response.id, f"{line.where}, message {response.id}"):
                continue
            reason = _reason_to_drop(response)
            if reason is None:
                yield Kept("ratings", split, (response,))
            else:
                yield Dropped("ratings", split, reason, line.where, response.id)


def _splits(num_trees: int) -> list[Split]:
    """[num_trees] where each tree of the file goes."""
    order = list(range(num_trees))
    random.Random(SPLIT_SEED).shuffle(order)
    splits: list[Split] = ["validation"] * num_trees
    for index in order[: int(num_trees * TRAIN_SHARE)]:
        splits[index] = "train"
    return splits


def _parse_tree(row: Row) -> list[RatedResponse]:
    """The assistant's messages, each before those that follow it."""
    root = _object(given(row, "prompt"), '"prompt"')
    responses: list[RatedResponse] = []
    waiting: list[tuple[Row, tuple[Message, ...]]] = [(root, ())]
    while waiting:
        node, before = waiting.pop()
        try:
            path = (*before, _message(node))
            if path[-1].role == "assistant":
                responses.append(RatedResponse(nonempty(node, "message_id"), path, _ratings(node)))
            waiting += [(reply, path) for reply in reversed(_replies(node))]
        except DataError as fault:
            raise DataError(f"message {node.get('message_id')!r:.40}: {fault}") from None
    _refuse_twice([response.id for response in responses])
    return responses


def _refuse_twice(names: Sequence[str]) -> None:
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise DataError(f"two messages have the id {twice!r}; expected one of each")


def _reason_to_drop(response: RatedResponse) -> str | None:
    if not response.attributes:
        return "unlabelled"
    if not response.messages[-1].content.strip():
        return "empty_response"
    try:
        check_turns(response.messages, last="assistant")
    except DataError:
        return "bad_turns"
    return None


def _message(node: Row) -> Message:
    role = given(node, "role")
    if not isinstance(role, str) or role not in ROLES:
        raise DataError(f'"role" is {role!r:.40}; expected prompter or assistant')
    return Message(ROLES[role], text(node, "text"))


def _ratings(node: Row) -> dict[str, float]:
    """The four labels on the scale 0 to 4; one without a value is absent."""
    labels = _object(node.get("labels") or {}, '"labels"')
    values = {name: given(_object(labels[name], f"label {name}"), "value") for name in LABELS if name in labels}
    return {name: _scaled(name, value) for name, value in values.items() if value is not None}


def _scaled(name: str, value: object) -> int:
    if not is_number(value) or not 0 <= value <= 1:
        raise DataError(f"label {name} is {value!r:.40}; expected a number from 0 to 1")
    return round(value * HIGHEST)


def _replies(node: Row) -> list[Row]:
    replies = node.get("replies") or []
    if not isinstance(replies, list):
        raise DataError(f'"replies" is {replies!r:.40}; expected a list of messages')
    return [_object(reply, "a reply") for reply in replies]


def _object(value: Any, name: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{name} is {value!r:.40}; expected an object")
    return value
