"""The rows of a reward-model run: read once, then cut into micro batches step by step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from megatron.core import parallel_state

from nemo_hs2pref.config.schema import RewardModelConfig
from nemo_hs2pref.data.batches import PairItem, RatingItem, collate_pairs, collate_ratings
from nemo_hs2pref.data.datasets import make_tokenize, pair_items, rating_items, tokenizer_of
from nemo_hs2pref.data.sampling import GlobalBatches, chunks, share
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.models.megatron_reward_model import Batch
from nemo_hs2pref.runtime import machine

Items = Sequence[RatingItem] | Sequence[PairItem]


@dataclass(frozen=True)
class RunData:
    """Items of a run and their order."""

    train: Items
    validation: Items
    order: GlobalBatches
    num_steps: int


def read_data(config: RewardModelConfig) -> RunData:
    """Read and tokenise everything; raises DataError before a model is built."""
    train, validation = read_items(config)
    loop, size = config.trainer.rm, config.model.global_batch_size
    order = GlobalBatches(len(train), size, seed=config.model.seed, shuffle=config.data.shuffle)
    num_steps = order.num_steps(loop.max_epochs, loop.max_steps)
    if num_steps == 0:
        raise DataError(
            f"{config.data.dir}: {len(train)} training items x {loop.max_epochs} epochs do not fill one global batch "
            f"of {size}; set model.global_batch_size lower"
        )
    return RunData(train, validation, order, num_steps)


def read_items(config: RewardModelConfig) -> tuple[Items, Items]:
    """Training and validation items: ratings for regression, pairs for Bradley-Terry."""
    base = Path(config.pretrained_checkpoint.restore_from_path)
    tokenize = make_tokenize(tokenizer_of(base), config.data.template)
    length = config.model.encoder_seq_length
    if config.loss.name == "regression":
        name = "ratings"
        slots, attributes = config.head.attributes, config.data.attributes
        read = partial(rating_items, tokenize=tokenize, slots=slots, attributes=attributes, max_length=length)
    else:
        name = "pairs"
        read = partial(pair_items, tokenize=tokenize, ties=config.data.ties, max_length=length)
    folder = Path(config.data.dir)
    return read(folder / f"{name}.train.jsonl"), read(folder / f"{name}.validation.jsonl")


class Batcher:
    """Item numbers of a global batch to this data-parallel rank's micro batches."""

    def __init__(self, config: RewardModelConfig, *, multiple_of: int) -> None:
        collate: Callable[..., Batch] = collate_ratings if config.loss.name == "regression" else collate_pairs
        self.collate = partial(collate, multiple_of=multiple_of, device=machine.device())
        self.micro_batch_size = config.model.micro_batch_size

    def __call__(self, items: Items, indices: Sequence[int]) -> list[Batch]:
        rank, size = parallel_state.get_data_parallel_rank(), parallel_state.get_data_parallel_world_size()
        mine = share(indices, rank, size)
        return [self.collate([items[i] for i in chunk]) for chunk in chunks(mine, self.micro_batch_size)]


def sequence_multiple(config: RewardModelConfig) -> int:
    """Tokens that a batch is rounded up to: sequence parallelism splits a row over the tensor-parallel ranks."""
    return config.model.tensor_model_parallel_size if config.model.sequence_parallel else 1


def validation_batches(
    config: RewardModelConfig, batcher: Batcher, items: Items
) -> list[Callable[[], Sequence[Batch]]]:
    """One call a global batch; the last may be partial, and a rank may have none of it."""
    limit = config.trainer.rm.limit_val_batches
    batches = chunks(range(len(items)), config.model.global_batch_size)
    return [partial(batcher, items, indices) for indices in (batches if limit < 0 else batches[:limit])]
