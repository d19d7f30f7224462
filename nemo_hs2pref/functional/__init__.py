"""The paper's formulas as functions of tensors: no configuration, no collective, nothing reduced.

Every function computes in float32 or wider and returns one value an item; whoever sees the whole global
batch divides once.
"""

from nemo_hs2pref.functional.dpo import dpo_loss, implicit_reward
from nemo_hs2pref.functional.extrapolate import average, extrapolate
from nemo_hs2pref.functional.preference import BRADLEY_TERRY_VARIANTS, bradley_terry_loss, reward_centering_loss
from nemo_hs2pref.functional.regression import regression_loss

__all__ = [
    "BRADLEY_TERRY_VARIANTS",
    "average",
    "bradley_terry_loss",
    "dpo_loss",
    "extrapolate",
    "implicit_reward",
    "regression_loss",
    "reward_centering_loss",
]
