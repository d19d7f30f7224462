"""Whether a run can start at all: its configuration, what it reads, the folder that it writes. Nothing is built."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from nemo_hs2pref.checkpoint.layout import resume_path
from nemo_hs2pref.checkpoint.saved_run import read_saved_run
from nemo_hs2pref.config.check import check
from nemo_hs2pref.config.data_files import train_file, validation_files
from nemo_hs2pref.config.load import load_reward_model_config
from nemo_hs2pref.config.resume import refuse_other_run
from nemo_hs2pref.config.schema import RewardModelConfig
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.stored import stored_config


def load_checked(overrides: Sequence[str]) -> tuple[RewardModelConfig, DictConfig]:
    """The configuration of a run, typed and resolved; raises ConfigError where its keys cannot work together."""
    config, resolved = load_reward_model_config("train_rm", overrides)
    base = Path(config.pretrained_checkpoint.restore_from_path)
    check(config, stored_config(base))
    folder = config.exp_manager.explicit_log_dir
    refuse_name(str(Path(folder).absolute()))
    if config.exp_manager.resume_if_exists and (resumed := resume_path(Path(folder) / "checkpoints")):
        refuse_other_run(folder, read_saved_run(resumed).run, resolved)
    return config, resolved


def refuse_name(run: str) -> None:
    """Of a job's run folder. With a backslash in it SLURM takes patterns, %N for a node, as they stand."""
    if found := next((character for character in run if character == "\\" or not character.isprintable()), None):
        raise ConfigError(
            f"exp_manager.explicit_log_dir={run!r} has the character {found!r} in it, which SLURM cannot take in the "
            "name of a log; choose a folder without it"
        )


def missing(config: RewardModelConfig) -> list[str]:
    """One sentence for each path that the run reads and that is not there."""
    return [f"{key}: {path.absolute()} is not there" for key, path in reads(config).items() if not path.exists()]


def reads(config: RewardModelConfig) -> dict[str, Path]:
    """Key -> path that the run reads."""
    paths = {
        "pretrained_checkpoint.restore_from_path": Path(config.pretrained_checkpoint.restore_from_path),
        "data.train": train_file(config),
    }
    return paths | {f"data.validation.{name}": file for name, file in validation_files(config).items()}
