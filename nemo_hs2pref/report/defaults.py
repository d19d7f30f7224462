"""In what a run differs from the experiment of the paper that it is nearest to."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from nemo_hs2pref.config.load import compose_config, config_dir
from nemo_hs2pref.recipes.recipe import Recipe
from nemo_hs2pref.recipes.table import recipe_in

# Where things lie: every run names its own.
PLACES = (
    "pretrained_checkpoint.restore_from_path",
    "data.dir",
    "exp_manager.explicit_log_dir",
)
ABSENT = "-"
MISSING = "???"


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value; a list is a value."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def nearest_experiment(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and the keys of the experiment in conf/ from which the configuration differs in the fewest keys.

    A run stores what it was resolved to, not what it was composed of, so this is a guess, and the page says so.
    """
    given, experiments = flat(config), all_experiments(recipe_in(config))
    name = min(experiments, key=lambda name: len(differences(given, experiments[name])))
    return name, experiments[name]


@cache
def all_experiments(recipe: Recipe[Any]) -> dict[str, dict[str, Any]]:
    """Name -> keys of those of the recipe, by whose name theirs begin; composing them takes two seconds."""
    files = sorted((config_dir() / "experiment").glob(f"{recipe.name}_*.yaml"))
    return {path.stem: composed(recipe, path.stem) for path in files}


def composed(recipe: Recipe[Any], experiment: str) -> dict[str, Any]:
    """The experiment as it is without overrides, less the places."""
    config = compose_config(recipe.config_name, [f"experiment={experiment}"], recipe.schema)
    for place in PLACES:
        OmegaConf.update(config, place, MISSING)
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {key: value for key, value in flat(plain).items() if key not in PLACES}  # pyright: ignore[reportArgumentType] # str


def differences(given: Mapping[str, Any], experiment: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(key, the run's value, the experiment's) where they differ, in the order of the run's keys."""
    keys = [key for key in {**given, **experiment} if key not in PLACES]
    both = [(key, given.get(key, ABSENT), experiment.get(key, ABSENT)) for key in keys]
    return [(key, str(ours), str(theirs)) for key, ours, theirs in both if ours != theirs]
