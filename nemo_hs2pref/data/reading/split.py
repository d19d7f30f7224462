"""Which rows are held out, where a source does not say."""

import hashlib
import json
from collections.abc import Sequence

from nemo_hs2pref.data.groups import SPLITS, Split
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.records import Message
from nemo_hs2pref.errors import DataError

VALIDATION_SHARE = 0.05  # of the prompts, as HelpSteer2's (arXiv 2406.08673)


def split_of_prompt(prompt: Sequence[Message], validation_share: float) -> Split:
    """The split of all rows with this prompt.

    The prompt alone decides, so that rows with one prompt stay together, and stay where they are when a file grows or
    another seed shuffles it.
    """
    text = json.dumps([[message.role, message.content] for message in prompt])
    position = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
    return "validation" if position < validation_share else "train"


def parse_split(row: Row) -> Split | None:
    """The row's "split", if it has one."""
    if row.get("split") is None:
        return None
    for split in SPLITS:
        if row["split"] == split:
            return split
    raise DataError(f'"split" is {row["split"]!r:.40}; expected one of {", ".join(SPLITS)}')
