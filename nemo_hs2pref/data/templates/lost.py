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
    message. So the template has to keep as many messages that cannot be mistaken, and one that cannot be mistaken in
    the place of each that can. The rest of the text may depend on what is said, as that of Qwen3 does.
    """
    told_apart = _told_apart(messages)
    frame = write(told_apart)
    for said, found in ((told_apart, frame), (messages, text)):
        place = _first_absent(said, found)
        if place is not None:
            return place
    for place, message in enumerate(messages):
        content = message.content.strip()
        others = [frame, *(other.content for other in messages if other.content != message.content)]
        if content and any(content in other for other in others):
            marked = [
                told if said.content == message.content else said
                for told, said in zip(told_apart, messages, strict=True)
            ]
            if _first_absent(marked, write(marked)) is not None:
                return place
    return None


def _told_apart(messages: Sequence[Message]) -> list[Message]:
    """With contents that no template writes by itself, equal ones where they are equal; empty ones stay empty."""
    names = {content: f"q{number}q" for number, content in enumerate(dict.fromkeys(m.content for m in messages))}
    return [replace(m, content=names[m.content]) if m.content.strip() else m for m in messages]


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
