"""The items of a supervised run: in which order they come, and cut into micro batches step by step.

NeMo is not imported here before the first batch is cut: a bad row is found in seconds, not after half a minute.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.data.batches.tokens import MakeBatch, MicroBatch
from nemo_hs2pref.data.sampling import GlobalBatches, chunks, micro_batches
from nemo_hs2pref.errors import ConfigError, DataError
from nemo_hs2pref.runtime.platform import machine

logger = logging.getLogger(__name__)


class Item(Protocol):
    """One item of a batch, which nothing tears apart."""

    @property
    def width(self) -> int:
        """Tokens of its longest row."""
        ...


Items = Sequence[Item]
Collate = Callable[..., MicroBatch]  # (items, *, multiple_of, device, packed): see data.batches.tokens.token_batch


@dataclass(frozen=True)
class SupervisedData:
    """Items of a run and their order."""

    train: Items
    validation: Mapping[str, Items]  # by name of the set
    order: GlobalBatches
    num_steps: int


def in_order(config: RunConfig, train: Items, validation: Mapping[str, Items]) -> SupervisedData:
    """Raises DataError where the items do not fill one global batch."""
    loop, size = config.loop, config.model.global_batch_size
    order = GlobalBatches(len(train), size, seed=config.model.seed, shuffle=config.data.shuffle)
    num_steps = order.num_steps(loop.max_epochs, loop.max_steps)
    if num_steps == 0:
        raise DataError(
            f"{config.data.dir}: {len(train)} training items x {loop.max_epochs} epochs do not fill one global batch "
            f"of {size}; set model.global_batch_size lower"
        )
    return SupervisedData(train, validation, order, num_steps)


def held_out(config: RunConfig, items: Sequence[Any]) -> Sequence[Any]:
    """As many as a validation is asked to take."""
    limit = config.loop.limit_val_batches
    return items if limit < 0 else items[: limit * config.model.global_batch_size]


def refuse_unknown_monitor(config: RunConfig, names: Sequence[str]) -> None:
    """What decides on the best weights and on the early stop must be among the metrics of the validation sets."""
    exp_manager = config.exp_manager
    best, stop = exp_manager.checkpoint_callback_params, exp_manager.early_stopping_callback_params
    for key, monitor, asked in (
        ("checkpoint_callback_params", best.monitor, best.save_top_k > 0 and bool(names)),
        ("early_stopping_callback_params", stop.monitor, exp_manager.create_early_stopping_callback),
    ):
        if asked and monitor not in names:
            known = ", ".join(names) or "none, because data.validation names no set"
            raise ConfigError(f"exp_manager.{key}.monitor={monitor}: the validation sets give {known}")


class Batcher:
    """Item numbers of a global batch to this data-parallel rank's micro batches."""

    def __init__(self, config: RunConfig, collate: Collate, *, multiple_of: int) -> None:
        self.collate = partial(collate, multiple_of=multiple_of, device=machine.device(), packed=is_packed(config))
        self.micro_batch_size = config.model.micro_batch_size

    def __call__(self, items: Items, indices: Sequence[int]) -> list[MicroBatch]:
        from megatron.core import parallel_state  # heavy

        rank, size = parallel_state.get_data_parallel_rank(), parallel_state.get_data_parallel_world_size()
        widths = {i: items[i].width for i in indices}
        mine = micro_batches(indices, widths, self.micro_batch_size, rank, size)
        return [self.collate([items[i] for i in chunk]) for chunk in mine]


def is_packed(config: RunConfig) -> bool:
    """As asked for, but not in float32 with Transformer Engine, which takes packed rows in 16 bit only."""
    if config.data.packed_sequence and config.trainer.precision == "32" and machine.has_apex_and_te():
        logger.warning("data.packed_sequence=true in float32 is not for Transformer Engine: micro batches are padded")
        return False
    return config.data.packed_sequence


def sequence_multiple(config: RunConfig) -> int:
    """Tokens that a batch is rounded up to: sequence parallelism splits a row over the tensor-parallel ranks."""
    return config.model.tensor_model_parallel_size if config.model.sequence_parallel else 1


def validation_batches(config: RunConfig, batcher: Batcher, items: Items) -> list[MakeBatch]:
    """One call a global batch, of items of like length; the last may be partial, and a rank may have none of it."""
    by_width = sorted(range(len(items)), key=lambda i: -items[i].width)
    return [partial(batcher, items, indices) for indices in chunks(by_width, config.model.global_batch_size)]
