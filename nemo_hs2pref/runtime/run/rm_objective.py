"""What a run minimises, and which metrics it will give. Without NeMo: it is checked together with the data."""

from collections.abc import Mapping, Sequence

import torch

from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.data.batches import Items, collate
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.metrics import measure, summarise
from nemo_hs2pref.models.objectives import Objective


def objective_of(config: RewardModelConfig) -> Objective:
    weights = {name: weight for name, weight in config.loss.weights.items() if weight}
    return Objective(weights, tuple(config.head.reward_weights))


def refuse_unknown_monitor(config: RewardModelConfig, validation: Mapping[str, Items]) -> None:
    """What decides on the best weights and on the early stop must be among the metrics of the validation sets."""
    names = metric_names(objective_of(config), config.head.attributes, validation)
    exp_manager = config.exp_manager
    best, stop = exp_manager.checkpoint_callback_params, exp_manager.early_stopping_callback_params
    for key, monitor, asked in (
        ("checkpoint_callback_params", best.monitor, best.save_top_k > 0 and bool(names)),
        ("early_stopping_callback_params", stop.monitor, exp_manager.create_early_stopping_callback),
    ):
        if asked and monitor not in names:
            known = ", ".join(names) or "none, because data.validation names no set"
            raise ConfigError(f"exp_manager.{key}.monitor={monitor}: the validation sets give {known}")


def metric_names(objective: Objective, slots: Sequence[str], validation: Mapping[str, Items]) -> list[str]:
    """What the validation of these sets will give, found by measuring rewards that mean nothing."""
    names: list[str] = []
    for name, items in validation.items():
        batch = collate(items, multiple_of=1, device=torch.device("cpu"))
        outputs = torch.arange(float(len(batch.lengths) * len(slots))).view(-1, len(slots))
        sums = {term: torch.tensor([1.0, count]) for term, count in objective.counts(batch).items()}
        metrics = objective.losses(sums) | summarise(measure(outputs, objective.reward(outputs), batch), slots)
        names += [f"val_{name}_{metric}" for metric in metrics]
    return names
