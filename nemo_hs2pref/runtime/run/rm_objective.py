"""What a reward-model run minimises, and which metrics it will give. Without NeMo: it is checked with the data."""

from collections.abc import Mapping

import torch

from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.data.batches.rewards import Items, collate
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.objectives.interface import metrics_of, sums_of
from nemo_hs2pref.objectives.reward import TERMS, RewardObjective


def objective_of(config: RewardModelConfig) -> RewardObjective:
    """Raises ConfigError for a term that conf/ names and the table has not."""
    weights = {name: weight for name, weight in config.loss.weights.items() if weight}
    if unknown := weights.keys() - TERMS.keys():
        raise ConfigError(f"loss.weights.{min(unknown)}: there is no such term; there are {', '.join(TERMS)}")
    return RewardObjective(weights, tuple(config.head.reward_weights), tuple(config.head.attributes))


def refuse_unknown_monitor(config: RewardModelConfig, validation: Mapping[str, Items]) -> None:
    """What decides on the best weights and on the early stop must be among the metrics of the validation sets."""
    names = metric_names(objective_of(config), validation)
    exp_manager = config.exp_manager
    best, stop = exp_manager.checkpoint_callback_params, exp_manager.early_stopping_callback_params
    for key, monitor, asked in (
        ("checkpoint_callback_params", best.monitor, best.save_top_k > 0 and bool(names)),
        ("early_stopping_callback_params", stop.monitor, exp_manager.create_early_stopping_callback),
    ):
        if asked and monitor not in names:
            known = ", ".join(names) or "none, because data.validation names no set"
            raise ConfigError(f"exp_manager.{key}.monitor={monitor}: the validation sets give {known}")


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
