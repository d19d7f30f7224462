"""Further files that are made of the records of a preparation: for SFT, RL, DPO, the justifier, and NeMo-Aligner.

    for group in kept:                     # the rated responses of one prompt, or one pair
        yield from make_rows(group)        # make_rows = VIEWS[name].start(scratch), anew for every file

A view takes one group at a time and keeps nothing; `prompts` asks the database for the prompts that are written.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nemo_hs2pref.data.formats.aligner import pair_rows, rating_row
from nemo_hs2pref.data.groups import Kind, Record
from nemo_hs2pref.data.jsonl import Row
from nemo_hs2pref.data.justifier import justifier_rows
from nemo_hs2pref.data.reading.scratch import Scratch
from nemo_hs2pref.data.reading.split import key_of_prompt
from nemo_hs2pref.data.records import PreferencePair, RatedResponse

MakeRows = Callable[[Sequence[Record]], Iterator[Row]]
REWARD = "helpfulness"


@dataclass(frozen=True)
class View:
    """One kind of further file."""

    reads: tuple[Kind, ...]  # the groups it can be made of
    start: Callable[[Scratch], MakeRows]  # called once a file
    help: str
    of_each: bool = False  # one file of each kind that there is; otherwise of the first of `reads` that there is


def sft(group: Sequence[Record]) -> Iterator[Row]:
    """{"id", "messages"}: the most helpful response of the prompt, of equally helpful ones the first.

    The choice is ours: the papers train SFT on other data. Responses without a helpfulness rating are passed over.
    """
    rated = _by_helpfulness(group)
    if rated:
        best = rated[-1]
        yield {"id": best.id, "messages": [message.to_json() for message in best.messages]}


def dpo(group: Sequence[Record]) -> Iterator[Row]:
    """The rated pair of a prompt, ordered by helpfulness, as a row of the pairs format without a strength.

    HelpSteer2's own DPO data (arXiv 2406.08673): equally helpful responses give none. Of more than two responses the
    most and the least helpful, as in its Iterative DPO. The same text twice gives none either.
    """
    rated = _by_helpfulness(group)
    if not rated or rated[0].attributes[REWARD] == rated[-1].attributes[REWARD]:
        return
    rejected, chosen = rated[0], rated[-1]
    pair = PreferencePair(
        id=_prompt_id(chosen),
        prompt=chosen.messages[:-1],
        chosen=chosen.messages[-1].content,
        rejected=rejected.messages[-1].content,
        chosen_attributes=chosen.attributes,
        rejected_attributes=rejected.attributes,
        chosen_position=1 if group.index(chosen) < group.index(rejected) else 2,
    )
    if not pair.has_equal_responses:
        yield pair.to_json()


def prompts(scratch: Scratch) -> MakeRows:
    """{"id", "prompt"}: every prompt once, under the name that it has in the first record with it.

    A prompt of both splits is written for the first of them, training, and is not held out.
    """

    def rows(group: Sequence[Record]) -> Iterator[Row]:
        for record in group:
            prompt = record.conversations()[0].messages[:-1]
            if scratch.first_place("prompt", key_of_prompt(prompt), record.id) == record.id:
                yield {"id": _prompt_id(record), "prompt": [message.to_json() for message in prompt]}

    return rows


def justifier(group: Sequence[Record]) -> Iterator[Row]:
    """Both orders of every pair that has a justification; see data/justifier.py."""
    for pair in _pairs(group):
        yield from justifier_rows(pair)


def aligner(group: Sequence[Record]) -> Iterator[Row]:
    """NeMo-Aligner's {"text", "label"}; see data/formats/aligner.py, also for pairs without a strength.

    Ties are left out: Aligner would learn that response 2 is better.
    """
    for rated in _rated(group):
        yield rating_row(rated)
    for pair in _pairs(group):
        if pair.strength != 0:
            yield from pair_rows(pair)


VIEWS = {
    "sft": View(("ratings",), lambda _: sft, "the most helpful response of each prompt, for SFT"),
    "prompts": View(("ratings", "pairs"), prompts, "each prompt once, for RL"),
    "dpo": View(("ratings",), lambda _: dpo, "the rated responses of each prompt by helpfulness, for DPO"),
    "justifier": View(("pairs",), lambda _: justifier, "why one response is better, in both orders, for a judge"),
    "aligner": View(("ratings", "pairs"), lambda _: aligner, "NeMo-Aligner's own rows, text and label", of_each=True),
}


def _prompt_id(record: Record) -> str:
    """The responses of the prompt "train-7" are "train-7:1", "train-7:2" and so on; a pair has its prompt's id."""
    stem, _, _ = record.id.rpartition(":")
    return stem if stem and isinstance(record, RatedResponse) else record.id


def _by_helpfulness(group: Sequence[Record]) -> list[RatedResponse]:
    """From the least to the most helpful; of equally helpful ones the first comes last, as the best one of them."""
    rated = [record for record in _rated(group) if REWARD in record.attributes]
    return sorted(reversed(rated), key=lambda response: response.attributes[REWARD])


def _rated(group: Sequence[Record]) -> list[RatedResponse]:
    return [record for record in group if isinstance(record, RatedResponse)]


def _pairs(group: Sequence[Record]) -> list[PreferencePair]:
    return [record for record in group if isinstance(record, PreferencePair)]
