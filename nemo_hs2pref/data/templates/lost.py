"""Whether all that was said stands in the text that a template makes of it.

Some chat templates have no place for a system message, cut what stands before `</think>`, or leave out a turn. Rows
that differ only in such a part would get equal rewards, or train the two sides of a pair on one text.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from nemo_hs2pref.data.records import Message

Write = Callable[[Sequence[Message]], str]


def first_lost(messages: Sequence[Message], text: str, write: Write) -> int | None:
    """The place (from 0) of the first message whose content does not stand in the text behind those before it.

    Contents count without the white space around them, which templates may trim, and may be spelled as in JSON, which
    loses nothing. A short one can also stand in the text by chance, in the word `user` of a header or in another
    message. So the template has to keep as many messages that cannot be mistaken, and the text has to have room for
    its frame and all contents.
    """
    told_apart = [_told_apart(place, message) for place, message in enumerate(messages)]
    frame = write(told_apart)
    for said, found in ((told_apart, frame), (messages, text)):
        place = _first_absent(said, found)
        if place is not None:
            return place
    if _size(text) - _size(frame) >= _contents(messages) - _contents(told_apart):
        return None
    by_chance = (place for place, message in enumerate(messages) if message.content.strip() in frame)
    return next(by_chance, 0)


def _told_apart(place: int, message: Message) -> Message:
    """With a content that no template writes by itself; an empty one stays empty."""
    return replace(message, content=f"q{place}q") if message.content.strip() else message


def _first_absent(messages: Sequence[Message], text: str) -> int | None:
    position = 0  # what stood before it is behind us: two equal messages must stand there twice
    for place, message in enumerate(messages):
        ends = [end for spelling in _spellings(message.content.strip()) if (end := _end(spelling, text, position)) >= 0]
        if not ends:
            return place
        position = min(ends)
    return None


def _spellings(content: str) -> set[str]:
    return {content, json.dumps(content, ensure_ascii=False)[1:-1]}  # as transformers' `tojson` writes it


def _end(content: str, text: str, position: int) -> int:
    """Where the first occurrence from `position` on ends; -1 where there is none."""
    found = text.find(content, position)
    return -1 if found < 0 else found + len(content)


def _contents(messages: Sequence[Message]) -> int:
    return sum(_size(message.content) for message in messages)


def _size(text: str) -> int:
    """Characters that are no white space."""
    return sum(map(len, text.split()))
