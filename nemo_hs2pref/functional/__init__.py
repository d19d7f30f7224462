"""The paper's formulas as functions of tensors: no configuration, no collective, nothing reduced.

Every function computes in float32 or wider and returns one value an item; whoever sees the whole global
batch divides once. `FORMULAS` is what the trainer logs for the loss it was told to use.
"""

from nemo_hs2pref.functional.extrapolate import average, extrapolate
from nemo_hs2pref.functional.preference import BRADLEY_TERRY_VARIANTS, bradley_terry_loss
from nemo_hs2pref.functional.regression import regression_loss

# Plain Python expressions, so that a test can evaluate them beside the functions that they describe.
FORMULAS = {
    "regression": "(prediction - target)**2",
    "regular_bt": "-log(sigmoid(r_c - r_r))",
    "margin_bt": "-log(sigmoid(r_c - r_r - m))",
    "scaled_bt": "-m * log(sigmoid(r_c - r_r))",
}

__all__ = ["BRADLEY_TERRY_VARIANTS", "FORMULAS", "average", "bradley_terry_loss", "extrapolate", "regression_loss"]
