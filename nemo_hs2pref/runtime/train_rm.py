"""Train a reward model: from a checked configuration to a finished run folder. Every rank runs this."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from megatron.core import parallel_state
from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.algorithms.supervised import SupervisedRun, fit
from nemo_hs2pref.checkpoint.layout import TOKENIZER
from nemo_hs2pref.checkpoint.training_state import Progress, load_training_state
from nemo_hs2pref.checkpoint.weights import load_weights
from nemo_hs2pref.config.schema import RewardModelConfig
from nemo_hs2pref.data.batches import PairItem, RatingItem, collate_pairs, collate_ratings
from nemo_hs2pref.data.datasets import make_tokenize, pair_items, rating_items, tokenizer_of
from nemo_hs2pref.data.sampling import GlobalBatches, chunks, share
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.models.megatron_reward_model import Batch
from nemo_hs2pref.models.objectives import OBJECTIVES, Objective
from nemo_hs2pref.runtime import machine
from nemo_hs2pref.runtime.build import build_reward_model, make_trainable
from nemo_hs2pref.runtime.keeper import CheckpointKeeper, resume_path
from nemo_hs2pref.runtime.run_log import RunLog

logger = logging.getLogger(__name__)
Items = Sequence[RatingItem] | Sequence[PairItem]


def train(config: RewardModelConfig, resolved: DictConfig, checkpoint: Mapping[str, Any]) -> None:
    """Run or resume the run in exp_manager.explicit_log_dir.

    `checkpoint` is the model_config.yaml of pretrained_checkpoint.restore_from_path.
    """
    folder = Path(config.exp_manager.explicit_log_dir)
    base = Path(config.pretrained_checkpoint.restore_from_path)
    items, validation = read_items(config, base)
    order = GlobalBatches(
        len(items), config.model.global_batch_size, seed=config.model.seed, shuffle=config.data.shuffle
    )
    num_steps = order.num_steps(config.trainer.rm.max_epochs, config.trainer.rm.max_steps)
    if num_steps == 0:
        raise DataError(
            f"{config.data.dir}: {len(items)} training items x {config.trainer.rm.max_epochs} epochs do not fill one "
            f"global batch of {config.model.global_batch_size}; set model.global_batch_size lower"
        )

    model = build_reward_model(config, checkpoint, max_steps=num_steps)
    model.objective = objective_of(config)
    resumed = resume_path(folder / "checkpoints") if config.exp_manager.resume_if_exists else None
    load_weights(model, resumed or base, head=bool(resumed) or config.head.load_rm_head_weights)
    trainable = make_trainable(model)
    progress = Progress()
    if resumed:
        progress = load_training_state(model, trainable.optimizer, trainable.scheduler, resumed)

    is_writer = torch.distributed.get_rank() == 0
    announce(config, model.objective, len(items), len(validation), num_steps, resumed, progress)
    if is_writer:
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(resolved, folder / "config.yaml")
    log = RunLog(
        folder,
        step=progress.step,
        num_steps=num_steps,
        tensorboard=config.exp_manager.create_tensorboard_logger,
        is_writer=is_writer,
    )
    keeper = CheckpointKeeper(
        folder / "checkpoints",
        model,
        trainable.optimizer,
        trainable.scheduler,
        config.exp_manager.checkpoint_callback_params,
        stored_config(model.cfg, checkpoint),
        base / TOKENIZER,
        {str(key): value for key, value in OmegaConf.to_container(resolved).items()},  # pyright: ignore
    )
    batcher = Batcher(config, multiple_of=sequence_multiple(config))
    run = SupervisedRun(
        model,
        trainable.optimizer,
        trainable.scheduler,
        train_batches=lambda step: batcher(items, order.indices(step)),
        validation_batches=validation_batches(config, batcher, validation),
        log=log,
        keeper=keeper,
        num_steps=num_steps,
        items_per_step=config.model.global_batch_size,
        val_check_interval=config.trainer.rm.val_check_interval,
        save_interval=config.trainer.rm.save_interval,
    )
    fit(run, progress)
    log.close()


def read_items(config: RewardModelConfig, base: Path) -> tuple[Items, Items]:
    """Training and validation items: ratings for regression, pairs for Bradley-Terry."""
    tokenize = make_tokenize(tokenizer_of(base), config.data.template)
    length = config.model.encoder_seq_length
    if config.loss.name == "regression":
        name = "ratings"
        read = partial(
            rating_items,
            tokenize=tokenize,
            slots=config.head.attributes,
            attributes=config.data.attributes,
            max_length=length,
        )
    else:
        name = "pairs"
        read = partial(pair_items, tokenize=tokenize, ties=config.data.ties, max_length=length)
    folder = Path(config.data.dir)
    return read(folder / f"{name}.train.jsonl"), read(folder / f"{name}.validation.jsonl")


def objective_of(config: RewardModelConfig) -> Objective:
    return OBJECTIVES[config.loss.name](reward_weights=tuple(config.head.reward_weights))


def sequence_multiple(config: RewardModelConfig) -> int:
    """Tokens that a batch is rounded up to: sequence parallelism splits a row over the tensor-parallel ranks."""
    return config.model.tensor_model_parallel_size if config.model.sequence_parallel else 1


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


def validation_batches(
    config: RewardModelConfig, batcher: Batcher, items: Items
) -> list[Callable[[], Sequence[Batch]]]:
    """One call a global batch; the last may be partial, and a rank may have none of it."""
    limit = config.trainer.rm.limit_val_batches
    batches = chunks(range(len(items)), config.model.global_batch_size)
    return [partial(batcher, items, indices) for indices in (batches if limit < 0 else batches[:limit])]


def stored_config(model_cfg: DictConfig, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What is written beside the weights: NeMo's section, with the tokenizer's place inside the checkpoint."""
    stored = OmegaConf.to_container(model_cfg, resolve=True)
    assert isinstance(stored, dict)
    return {str(key): value for key, value in stored.items()} | {"tokenizer": checkpoint["tokenizer"]}


def announce(
    config: RewardModelConfig,
    objective: Objective,
    num_items: int,
    num_validation: int,
    num_steps: int,
    resumed: Path | None,
    progress: Progress,
) -> None:
    """What is trained, on what, from where: the lines that a person reads first."""
    unit = "responses" if config.loss.name == "regression" else "pairs"
    logger.info("loss %s = mean of %s", objective.name, objective.formula)
    logger.info("%d %s to train on, %d to validate on, %d steps of %d", num_items, unit, num_validation, num_steps,
                config.model.global_batch_size)  # fmt: skip
    if resumed:
        logger.info("resuming %s after step %d", resumed, progress.step)
    else:
        logger.info("starting from %s", config.pretrained_checkpoint.restore_from_path)
