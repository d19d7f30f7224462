"""Reward models: SteerLM regression, Bradley-Terry, and weighted sums of them."""

from collections.abc import Sequence

from omegaconf import DictConfig

from nemo_hs2pref.config.rules.reward_model import RULES
from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.recipes.recipe import Recipe, Training

CHOOSE = "choose the loss with loss=regression|regular_bt|margin_bt|scaled_bt|combined"
MOVED = {
    "model.regression.loss_func": CHOOSE,
    "model.loss_func": CHOOSE,
    "model.regression.load_rm_head_weights": "use head.load_rm_head_weights",
    "model.regression.attribute_weights": "use head.reward_weights",
    "model.regression.num_attributes": "name the slots in head.attributes",
}


def training() -> Training:
    from nemo_hs2pref.recipes import rm_training  # heavy: torch

    return rm_training


RECIPE = Recipe("rm", "reward model", "train_rm", RewardModelConfig, RULES, training, MOVED)


def load_reward_model_config(overrides: Sequence[str] = ()) -> tuple[RewardModelConfig, DictConfig]:
    """The configuration of a reward-model run, typed and resolved."""
    return RECIPE.load(overrides)
