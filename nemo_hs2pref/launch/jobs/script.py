"""A job script of slurm/, seen from the login node: is it one, and which command will it run."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nemo_hs2pref.errors import ConfigError

FRAME = "slurm/frame.sh"  # in the repository; what a job script sources
TIME_LIMIT_S = 60


def home_of(script: Path) -> Path:
    """The repository that a job script belongs to."""
    home = script.resolve().parents[1]
    if not script.is_file() or not (home / FRAME).is_file():
        raise ConfigError(f"{script}: no job script; expected one of slurm/, as slurm/train_rm_70b.sh")
    return home


def words_of(script: Path, overrides: Sequence[str]) -> list[str]:
    """The words behind `hs2pref` that the job will run: train, a recipe, the script's own overrides, those given."""
    refuse_bad_syntax(script.read_text(), str(script))
    environment = os.environ | {"HS2PREF_PRINT_WORDS": "yes", "HS2PREF_HOME": str(home_of(script))}
    printed = bash([str(script), *overrides], environment=environment)
    return printed.split("\0")[:-1]


def refuse_bad_syntax(text: str, name: str) -> None:
    """Raise ConfigError with what `bash -n` says of shell text."""
    bash(["-n"], given=text, name=name)


def bash(words: Sequence[str], *, given: str = "", name: str = "", environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["bash", *words], input=given, capture_output=True, text=True, env=environment, timeout=TIME_LIMIT_S
    )
    if done.returncode:
        raise ConfigError(f"{name or words[0]}: {' '.join(done.stderr.split())}")
    return done.stdout
