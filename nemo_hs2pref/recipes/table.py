"""The table of recipes. A further one is a file beside this one and a row here; nothing else knows what is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.recipes import rm
from nemo_hs2pref.recipes.recipe import Recipe

DEFAULT = rm.RECIPE  # of `plan` and `preflight` without a name
RECIPES: dict[str, Recipe[Any]] = {recipe.name: recipe for recipe in (rm.RECIPE,)}


def recipe_of(name: str) -> Recipe[Any]:
    """The recipe of this name; raises ConfigError with the known ones."""
    if name not in RECIPES:
        raise ConfigError(f"{name}: nothing of that name can be trained; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def with_config(name: str) -> Recipe[Any]:
    """The recipe whose configuration has this name in conf/; raises ConfigError with the known ones."""
    for recipe in RECIPES.values():
        if recipe.config_name == name:
            return recipe
    names = ", ".join(recipe.config_name for recipe in RECIPES.values())
    raise ConfigError(f"--config-name {name}: no recipe has it; there are {names}")


def recipe_in(config: Mapping[str, Any]) -> Recipe[Any]:
    """Of a stored configuration, which has its loop in trainer.<recipe>; that of every run so far where it has none."""
    trainer = config.get("trainer")
    named = [RECIPES[name] for name in RECIPES if isinstance(trainer, Mapping) and name in trainer]
    return named[0] if named else DEFAULT


def chosen(config_name: str | None, words: Sequence[str]) -> tuple[Recipe[Any], list[str]]:
    """What `[--config-name NAME] [RECIPE] key=value ...` means: the recipe and its overrides.

    Raises ConfigError where the two names do not belong together.
    """
    named, overrides = (recipe_of(words[0]), [*words[1:]]) if words and "=" not in words[0] else (None, [*words])
    if config_name is None:
        return named or DEFAULT, overrides
    recipe = with_config(config_name)
    if named not in (None, recipe):
        raise ConfigError(f"--config-name {config_name} is of {recipe.name}, asked for is {words[0]}; give one of them")
    return recipe, overrides
