"""Whether a run can start at all: its configuration, what it reads, the folder that it writes. Nothing is built."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nemo_hs2pref.checkpoint.layout import resume_path
from nemo_hs2pref.checkpoint.saved_run import read_saved_run
from nemo_hs2pref.config.data_files import files_read
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.stored import stored_config
from nemo_hs2pref.recipes.recipe import Recipe
from nemo_hs2pref.recipes.table import RECIPES, recipe_of


@dataclass(frozen=True)
class Run:
    """What a job trains."""

    recipe: Recipe[Any]
    config: RunConfig
    resolved: DictConfig


def load_checked(words: Sequence[str]) -> Run:
    """The run of `train RECIPE key=value ...`; raises ConfigError where its keys cannot work together."""
    verb, name, *overrides = words
    if verb != "train":
        raise ConfigError(f"{' '.join(words[:2])}: a job trains; expected train and one of {', '.join(RECIPES)}")
    recipe = recipe_of(name)
    config, resolved = recipe.load(overrides)
    base = Path(config.pretrained_checkpoint.restore_from_path)
    recipe.check(config, stored_config(base))
    folder = config.exp_manager.explicit_log_dir
    refuse_name(str(Path(folder).absolute()))
    if config.exp_manager.resume_if_exists and (resumed := resume_path(Path(folder) / "checkpoints")):
        recipe.refuse_other_run(folder, read_saved_run(resumed).run, resolved)
    return Run(recipe, config, resolved)


def refuse_name(run: str) -> None:
    """Of a job's run folder. With a backslash in it SLURM takes patterns, %N for a node, as they stand."""
    if found := next((character for character in run if character == "\\" or not character.isprintable()), None):
        raise ConfigError(
            f"exp_manager.explicit_log_dir={run!r} has the character {found!r} in it, which SLURM cannot take in the "
            "name of a log; choose a folder without it"
        )


def missing(config: RunConfig) -> list[str]:
    """One sentence for each path that the run reads and that is not there."""
    return [f"{key}: {path.absolute()} is not there" for key, path in reads(config).items() if not path.exists()]


def reads(config: RunConfig) -> dict[str, Path]:
    """Key -> path that the run reads."""
    base = Path(config.pretrained_checkpoint.restore_from_path)
    return {"pretrained_checkpoint.restore_from_path": base} | files_read(config)
