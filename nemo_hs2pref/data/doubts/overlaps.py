"""What stands in the data more than once: counted by digests on disk, in memory that does not grow with the rows."""

import json
from collections.abc import Sequence

from nemo_hs2pref.data.doubts import Doubts
from nemo_hs2pref.data.groups import Split
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.data.reading.split import key_of_prompt
from nemo_hs2pref.data.records import Message

PROMPT, RESPONSE, PAIR = "prompt", "response", "pair"


class Overlaps:
    """Rows of any number of files; white space around a text makes no difference."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch

    def add(
        self, name: str, family: str, split: Split, prompt: Sequence[Message], responses: Sequence[str] | None
    ) -> None:
        """A row.

        Args:
            name: of the row, to be told.
            family: of its file, whichever the split: only rows of one family repeat each other.
            split: that it is in.
            prompt: what stands before the responses.
            responses: of a pair the better one first; one of a rated response; None where nothing is preferred.
        """
        if not prompt:
            return
        asked = key_of_prompt(prompt)
        self.scratch.see(PROMPT, asked, name, split)
        if responses:
            stripped = [response.strip() for response in responses]
            ordered = sorted(stripped)
            kind = PAIR if len(responses) > 1 else RESPONSE
            self.scratch.see(kind, json.dumps([family, asked, *ordered]), name, split, turned=ordered != stripped)

    def tell(self, doubts: Doubts) -> None:
        """What all rows together came to."""
        for prompt in self.scratch.repeated(PROMPT):
            if prompt.is_in_both_splits:
                doubts.add("prompts_in_both_splits", prompt.name)
        for kind in (RESPONSE, PAIR):
            for text in self.scratch.repeated(kind):
                doubts.put("duplicates", text.repeats, text.name)
                if kind == PAIR and text.is_in_both_splits:
                    doubts.add("pairs_in_both_splits", text.name)
                if text.is_in_both_directions:
                    doubts.add("contradicting_pairs", text.name)
