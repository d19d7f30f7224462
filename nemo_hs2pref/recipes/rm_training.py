"""The heavy side of reward models: rows to items, the objective, the model. NeMo is imported when `train` is called."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig

from nemo_hs2pref.checkpoint.opening import opened
from nemo_hs2pref.config.data_files import absent_sets, train_file, validation_files
from nemo_hs2pref.config.rules.checking import Checkpoint
from nemo_hs2pref.config.schema.reward_model import OF_RATINGS, RewardModelConfig
from nemo_hs2pref.data.batches.rewards import Item, Items, PairItem, collate
from nemo_hs2pref.data.datasets import Reader, tokenizer_of
from nemo_hs2pref.data.manifest import read_prepared
from nemo_hs2pref.data.records import IGNORED
from nemo_hs2pref.data.templates.tokens import make_tokenize_rows
from nemo_hs2pref.errors import ConfigError, DataError
from nemo_hs2pref.objectives.interface import metrics_of, sums_of
from nemo_hs2pref.objectives.reward import TERMS, RewardObjective
from nemo_hs2pref.run_lock import RunLock
from nemo_hs2pref.runtime.run.batching import SupervisedData, held_out, in_order, refuse_unknown_monitor

if TYPE_CHECKING:  # it imports NeMo
    from nemo_hs2pref.runtime.run.train import Supervised

logger = logging.getLogger(__name__)


def read_data(config: RewardModelConfig) -> SupervisedData:
    """Read and tokenise everything; raises DataError before a model is built."""
    folder = Path(config.data.dir)
    prepared = read_prepared(folder)
    train, validation = read_items(config)
    refuse_unknown_monitor(config, metric_names(objective_of(config), validation))
    data = in_order(config, train, validation)
    if prepared is None:
        logger.info("%s has no manifest of `hs2pref data prepare`: its rows are read as they are", folder)
    return data


def read_items(config: RewardModelConfig) -> tuple[Items, dict[str, Items]]:
    """Training items, ratings or pairs as the loss reads them, and the named validation sets."""
    read, path = reader_of(config), train_file(config)
    needs_strength = objective_of(config).needs_strength
    pairs = config.loss.reads == "pairs"
    train = read.pairs(path, require_strength=needs_strength) if pairs else read.responses(path)
    if config.loss.weights.get(OF_RATINGS) and not any(map(has_ratings, train)):
        raise DataError(
            f"{path}: no pair has ratings of {', '.join(config.data.attributes)}, which loss {config.loss.name} "
            'learns; expected "chosen_attributes" and "rejected_attributes" (docs/data.md)'
        )
    for name in absent_sets(config):
        logger.warning("%s has no %s: no validation on %s", config.data.dir, config.data.validation[name], name)
    validation = {name: held_out(config, read.either(path)) for name, path in validation_files(config).items()}
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


def objective_of(config: RewardModelConfig) -> RewardObjective:
    """Raises ConfigError for a term that conf/ names and the table has not."""
    weights = {name: weight for name, weight in config.loss.weights.items() if weight}
    if unknown := weights.keys() - TERMS.keys():
        raise ConfigError(f"loss.weights.{min(unknown)}: there is no such term; there are {', '.join(TERMS)}")
    return RewardObjective(weights, tuple(config.head.reward_weights), tuple(config.head.attributes))


def metric_names(objective: RewardObjective, validation: Mapping[str, Items]) -> list[str]:
    """What the validation of these sets will give, found by measuring rewards that mean nothing."""
    names: list[str] = []
    for name, items in validation.items():
        batch = collate(items, multiple_of=1, device=torch.device("cpu"))
        slots = len(objective.slots)
        outputs = torch.arange(float(len(batch.characters) * slots)).view(-1, slots)
        metrics = metrics_of(objective, sums_of(objective, outputs, batch))
        names += [f"val_{name}_{metric}" for metric in metrics]
    return names


def supervised(config: RewardModelConfig, checkpoint: Checkpoint) -> "Supervised":
    """What reward models have of their own; imports NeMo."""
    from nemo_hs2pref.runtime.run.build import build_reward_model
    from nemo_hs2pref.runtime.run.train import Supervised

    build = partial(build_reward_model, config, checkpoint)
    return Supervised(config.loss.name, objective_of(config), lambda steps: build(max_steps=steps), collate)


def train(
    config: RewardModelConfig,
    resolved: DictConfig,
    checkpoint: Checkpoint,
    data: SupervisedData,
    lock: RunLock,
    started: float,
) -> int:
    """See recipe.Training."""
    from nemo_hs2pref.runtime.run import train as run  # heavy: NeMo

    return run.train(supervised(config, checkpoint), config, resolved, checkpoint, data, lock, started)
