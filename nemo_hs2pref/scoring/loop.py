"""The one loop under every model that scores. Every rank calls it together.

tokenise -> equal rows once -> what a journal has -> batches -> this rank's share -> gather
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from nemo_hs2pref.data.records import Conversation
from nemo_hs2pref.data.templates.tokens import TokenizeRows
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.evaluation.scores import Score, TooLong, first_ids
from nemo_hs2pref.runtime.platform import machine
from nemo_hs2pref.scoring.batches import TOKENS_A_BATCH, Key, Rows, batches_by_tokens, deal, key_of, without
from nemo_hs2pref.scoring.journal import Journal, Known
from nemo_hs2pref.scoring.progress import Progress

Value = TypeVar("Value")


@dataclass(frozen=True)
class Replica:
    """The copy of the model that this rank is a part of."""

    index: int
    count: int  # of copies
    is_leader: bool  # among the ranks that have the same outputs, the one that says them


class RewardModel(Protocol):
    """What the loop needs.

    Built without loading weights (minutes at 70B), so that rows that are too long are reported first.
    """

    attributes: Sequence[str]  # [K] names of the outputs
    reward_weights: Sequence[float]  # [K]
    max_length: int  # tokens of a row in training
    num_positions: int  # tokens that it can take
    tokenize: TokenizeRows
    fingerprint: Mapping[str, Any]  # what its outputs depend on

    def load(self) -> Replica: ...

    def forward(self, rows: Sequence[Sequence[int]]) -> Tensor | None:
        """[B, K] attributes of rows of tokens, float32, on the device; None where another stage has them."""
        ...


class ModelScorer:
    """A Scorer over a model.

    partial: a folder for what is scored, until the output is written.
    max_length: tokens of a row; None: model.max_length.
    """

    def __init__(self, model: RewardModel, partial: Path | None = None, max_length: int | None = None) -> None:
        if max_length is not None and max_length > model.num_positions:
            raise ConfigError(f"--max-length {max_length}: the model has positions for {model.num_positions} tokens")
        self.model = model
        self.max_length = model.max_length if max_length is None else max_length
        self.journal = Journal(partial, {**model.fingerprint, "device": machine.device().type}) if partial else None

    @property
    def attributes(self) -> Sequence[str]:
        """The names in every Score."""
        return self.model.attributes

    @torch.no_grad()
    def score(self, conversations: Sequence[Conversation]) -> list[Score]:
        """Raises TooLong for rows that the model cannot take, DataError for those that its template refuses, before
        the weights are read."""
        tokens = self.model.tokenize(conversations)
        refuse_long([conversation.id for conversation in conversations], tokens, self.max_length)
        keys = [key_of(row) for row in tokens]
        rows = dict(zip(keys, tokens, strict=True))
        known = from_first_rank(lambda: self._known(keys))
        known |= gather(self._compute(rows, known))
        return [self._score(row.id, known[key]) for row, key in zip(conversations, keys, strict=True)]

    def discard_partial(self) -> None:
        """For the first rank, once the output is written."""
        if self.journal is not None:
            self.journal.remove()

    def _known(self, keys: Sequence[Key]) -> Known:
        found = self.journal.read() if self.journal else {}
        known = {key: found[key] for key in keys if key in found}
        if known:
            print(f"{sum(key in known for key in keys):,} of {len(keys):,} rows were scored before", flush=True)
        return known

    def _compute(self, rows: Rows, known: Known) -> Known:
        """What this rank's copy of the model computes, on its leader."""
        batches = without(known, batches_by_tokens(rows, TOKENS_A_BATCH[machine.device().type]))
        if not batches:
            return {}
        replica = self._replica
        mine = deal(batches, rows, replica.count)[replica.index]
        progress = Progress(*extent(mine, rows), total_rows=sum(map(len, batches)))
        computed: Known = {}
        for batch in mine:
            attributes_BK = self.model.forward([rows[key] for key in batch])
            if attributes_BK is not None and replica.is_leader:
                values = attributes_BK.tolist()  # the one wait for the device
                computed |= zip(batch, values, strict=True)
                if self.journal is not None:
                    self.journal.append(replica.index, batch, values)
            progress.update(*extent([batch], rows))
        progress.close()
        return computed

    @cached_property
    def _replica(self) -> Replica:
        return self.model.load()

    def _score(self, identifier: str, attributes: Sequence[float]) -> Score:
        reward = torch.tensor(attributes, dtype=torch.float64) @ torch.tensor(
            self.model.reward_weights, dtype=torch.float64
        )
        return Score(identifier, reward.item(), dict(zip(self.model.attributes, attributes, strict=True)))


def refuse_long(ids: Sequence[str], tokens: Sequence[Sequence[int]], max_length: int) -> None:
    """All of them in one message."""
    long = {name: len(row) for name, row in zip(ids, tokens, strict=True) if len(row) > max_length}
    if long:
        shown = first_ids([f"{name} with {length}" for name, length in long.items()])
        raise TooLong(
            f"{len(long)} of {len(ids)} rows are longer than {max_length} tokens ({shown}); leave them out, or "
            "raise --max-length",
            {name: f"{length} tokens, more than {max_length}" for name, length in long.items()},
        )


def extent(batches: Sequence[Sequence[Key]], rows: Rows) -> tuple[int, int]:
    """Rows and tokens."""
    return sum(map(len, batches)), sum(len(rows[key]) for batch in batches for key in batch)


def from_first_rank(make: Callable[[], Value]) -> Value:
    """What `make` gives on the first rank, on every rank; no other calls it."""
    if not torch.distributed.is_initialized():
        return make()
    box: list[Any] = [make() if torch.distributed.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(box)
    return box[0]


def gather(computed: dict[Key, Value]) -> dict[Key, Value]:
    """What any rank computed, on every rank."""
    if not torch.distributed.is_initialized():
        return computed
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, computed)
    return {key: values for part in parts for key, values in part.items()}
