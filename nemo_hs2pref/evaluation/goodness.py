"""One number of several attributes: how the papers' models with five outputs are turned into a reward."""

from collections.abc import Collection, Mapping

from nemo_hs2pref.errors import DataError

# Name -> attribute -> weight. Attributes that are not named weigh nothing.
GOODNESS: Mapping[str, Mapping[str, float]] = {
    # Nemotron-4-340B-Reward on RewardBench (HelpSteer2, arXiv 2406.08673, and the model's card)
    "nemotron-4-340b": {
        "helpfulness": 0.3,
        "correctness": 0.74,
        "coherence": 0.46,
        "complexity": 0.47,
        "verbosity": -0.33,
    },
    # Llama 3 70B RM on RewardBench (HelpSteer2)
    "llama3-70b": {
        "helpfulness": 0.65,
        "correctness": 0.8,
        "coherence": 0.45,
        "complexity": 0.55,
        "verbosity": -0.4,
    },
    # Llama-3.1-Nemotron-70B-Reward (HelpSteer2-Preference, arXiv 2410.01257): slot 4 of the head and nothing else
    "helpfulness": {"helpfulness": 1.0},
}


def goodness(attributes: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The weighted sum of a response's attributes; those without a weight count nothing. Raises as require_weighed."""
    require_weighed(attributes, weights)
    return sum(weight * attributes[name] for name, weight in weights.items())


def require_weighed(attributes: Collection[str], weights: Mapping[str, float]) -> None:
    """DataError where an attribute with a weight is missing: the rest of the sum would be another score."""
    missing = [name for name in weights if name not in attributes]
    if missing:
        raise DataError(
            f"no {', '.join(missing)} among the attributes ({', '.join(attributes) or 'none'}); "
            f"this goodness weighs {', '.join(weights)}: choose weights for attributes that the model has"
        )
