"""Which rows are held out, where a source does not say."""

import hashlib
import json
import re
from collections.abc import Sequence

from nemo_hs2pref.data.groups import SPLITS, Split
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.records import Message
from nemo_hs2pref.errors import DataError

WORDS: dict[str, Split] = {
    "train": "train",
    **dict.fromkeys(("validation", "valid", "val", "test", "dev", "eval"), "validation"),
}  # as they stand in the names of files, and in columns
VALIDATION_SHARE = 0.05  # of the prompts, as HelpSteer2's (arXiv 2406.08673)


def split_of_prompt(prompt: Sequence[Message], validation_share: float) -> Split:
    """The split of all rows with this prompt.

    The prompt alone decides, so that rows with one prompt stay together, and stay where they are when a file grows or
    another seed shuffles it.
    """
    key = key_of_prompt(prompt).encode()
    position = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64
    return "validation" if position < validation_share else "train"


def key_of_prompt(prompt: Sequence[Message]) -> str:
    """Equal for prompts that say the same: white space around a message makes no other."""
    return json.dumps([[message.role, message.content.strip()] for message in prompt])


def split_of_word(word: object) -> Split | None:
    """The split that other people's word stands for."""
    return WORDS.get(word) if isinstance(word, str) else None


def split_and_family(name: str) -> tuple[Split | None, str]:
    """What a file's name says of its split, and the name that the files of the other splits have in common with it."""
    parts = re.split(r"([A-Za-z]+)", name)
    places = [place for place, part in enumerate(parts) if part.lower() in WORDS]
    if not places:
        return None, name
    word, parts[places[-1]] = parts[places[-1]], "*"
    return WORDS[word.lower()], "".join(parts)


def parse_split(row: Row) -> Split | None:
    """The row's "split", if it has one."""
    if row.get("split") is None:
        return None
    for split in SPLITS:
        if row["split"] == split:
            return split
    raise DataError(f'"split" is {row["split"]!r:.40}; expected one of {", ".join(SPLITS)}')
