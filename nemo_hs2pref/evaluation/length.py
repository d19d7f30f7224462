"""What the length of the responses alone reaches: by taking the longer response always, or the shorter one always.

Where the chosen responses are mostly the shorter ones, a reward that is nothing but brevity is far above "longer wins".
A model is therefore compared with the better of the two rules, to which equal lengths count half: it has to guess.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rule = Literal["longer", "shorter"]
RULES: tuple[Rule, ...] = ("longer", "shorter")


def credits_of(rule: Rule, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """[P] 1 where the rule takes the chosen response, 0 where the rejected one, 1/2 where both are equally long.

    lengths: [P, 2] of the chosen and of the rejected response.
    """
    longer = (np.sign(lengths[:, 0] - lengths[:, 1]) + 1) / 2
    return longer if rule == "longer" else 1 - longer


def better_rule(longer: float, shorter: float) -> tuple[Rule, float]:
    """The rule that is right more often, and how often.

    Args:
        longer: share of pairs in which the chosen response is the longer one.
        shorter: share in which it is the shorter one; in the rest both are equally long.
    """
    return "longer" if longer >= shorter else "shorter", 0.5 + abs(longer - shorter) / 2
