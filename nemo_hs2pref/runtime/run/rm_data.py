"""The rows of a reward-model run: read once, then cut into micro batches step by step.

NeMo is not imported here before the first batch is cut: a bad row is found in seconds, not after half a minute.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nemo_hs2pref.checkpoint.opening import opened
from nemo_hs2pref.config.data_files import absent_sets, train_file, validation_files
from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.data.batches.rewards import Item, Items, PairItem, RewardBatch, collate
from nemo_hs2pref.data.batches.tokens import MakeBatch
from nemo_hs2pref.data.datasets import Reader, tokenizer_of
from nemo_hs2pref.data.manifest import read_prepared
from nemo_hs2pref.data.records import IGNORED
from nemo_hs2pref.data.sampling import GlobalBatches, chunks, micro_batches
from nemo_hs2pref.data.templates.tokens import make_tokenize_rows
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.runtime.platform import machine
from nemo_hs2pref.runtime.run.rm_objective import objective_of, refuse_unknown_monitor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunData:
    """Items of a run and their order."""

    train: Items
    validation: Mapping[str, Items]  # by name of the set
    order: GlobalBatches
    num_steps: int


def read_data(config: RewardModelConfig) -> RunData:
    """Read and tokenise everything; raises DataError before a model is built."""
    folder = Path(config.data.dir)
    prepared = read_prepared(folder)
    train, validation = read_items(config)
    refuse_unknown_monitor(config, validation)
    loop, size = config.loop, config.model.global_batch_size
    order = GlobalBatches(len(train), size, seed=config.model.seed, shuffle=config.data.shuffle)
    num_steps = order.num_steps(loop.max_epochs, loop.max_steps)
    if num_steps == 0:
        raise DataError(
            f"{config.data.dir}: {len(train)} training items x {loop.max_epochs} epochs do not fill one global batch "
            f"of {size}; set model.global_batch_size lower"
        )
    if prepared is None:
        logger.info("%s has no manifest of `hs2pref data prepare`: its rows are read as they are", folder)
    return RunData(train, validation, order, num_steps)


def read_items(config: RewardModelConfig) -> tuple[Items, dict[str, Items]]:
    """Training items, ratings or pairs as the loss reads them, and the named validation sets."""
    read = reader_of(config)
    path = train_file(config)
    graded = objective_of(config).needs_strength
    pairs = config.loss.reads == "pairs"
    train = read.pairs(path, require_strength=graded) if pairs else read.responses(path)
    if config.loss.weights.get("regression") and not any(map(has_ratings, train)):
        raise DataError(
            f"{path}: no pair has ratings of {', '.join(config.data.attributes)}, which loss {config.loss.name} "
            'learns; expected "chosen_attributes" and "rejected_attributes" (docs/data.md)'
        )
    limit = config.loop.limit_val_batches
    count = None if limit < 0 else limit * config.model.global_batch_size
    for name in absent_sets(config):
        logger.warning("%s has no %s: no validation on %s", config.data.dir, config.data.validation[name], name)
    validation = {name: read.either(path)[:count] for name, path in validation_files(config).items()}
    return train, {name: items for name, items in validation.items() if items}


def reader_of(config: RewardModelConfig) -> Reader:
    tokenizer = tokenizer_of(opened(Path(config.pretrained_checkpoint.restore_from_path)))
    return Reader(
        make_tokenize_rows(tokenizer, config.data.template, may_be_empty=False),
        slots=config.head.attributes,
        attributes=config.data.attributes,
        max_length=config.model.encoder_seq_length,
        ties=config.data.ties,
    )


def has_ratings(item: Item) -> bool:
    rows = (item.chosen, item.rejected) if isinstance(item, PairItem) else (item,)
    return any(value != IGNORED for row in rows for value in row.attributes)


class Batcher:
    """Item numbers of a global batch to this data-parallel rank's micro batches."""

    def __init__(self, config: RewardModelConfig, *, multiple_of: int) -> None:
        self.collate = partial(collate, multiple_of=multiple_of, device=machine.device(), packed=is_packed(config))
        self.micro_batch_size = config.model.micro_batch_size

    def __call__(self, items: Items, indices: Sequence[int]) -> list[RewardBatch]:
        from megatron.core import parallel_state  # heavy

        rank, size = parallel_state.get_data_parallel_rank(), parallel_state.get_data_parallel_world_size()
        widths = {i: items[i].width for i in indices}
        mine = micro_batches(indices, widths, self.micro_batch_size, rank, size)
        return [self.collate([items[i] for i in chunk]) for chunk in mine]


def is_packed(config: RewardModelConfig) -> bool:
    """As asked for, but not in float32 with Transformer Engine, which takes packed rows in 16 bit only."""
    if config.data.packed_sequence and config.trainer.precision == "32" and machine.has_apex_and_te():
        logger.warning("data.packed_sequence=true in float32 is not for Transformer Engine: micro batches are padded")
        return False
    return config.data.packed_sequence


def sequence_multiple(config: RewardModelConfig) -> int:
    """Tokens that a batch is rounded up to: sequence parallelism splits a row over the tensor-parallel ranks."""
    return config.model.tensor_model_parallel_size if config.model.sequence_parallel else 1


def validation_batches(config: RewardModelConfig, batcher: Batcher, items: Items) -> list[MakeBatch]:
    """One call a global batch, of items of like length; the last may be partial, and a rank may have none of it."""
    by_width = sorted(range(len(items)), key=lambda i: -items[i].width)
    return [partial(batcher, items, indices) for indices in chunks(by_width, config.model.global_batch_size)]
