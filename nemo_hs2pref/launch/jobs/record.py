"""What a job was submitted with, in the run folder: enough to tell months later what ran, and to run it again."""

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path

from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.masking import is_secret, is_secret_name, masked
from nemo_hs2pref.repository import git

SUBMISSIONS = "submissions"  # in the run folder; one folder a submission, named by its time
SHOWN = re.compile(r"(SLURM|SBATCH|HS2PREF|NCCL|TORCH|CUDA|NVTE|NVIDIA|OMP|HF|HYDRA|WANDB|PYTHON|MASTER|GLOO|UCX)_?")


def new_folder(run: Path) -> Path:
    """The folder of a submission now; it is made by `write_record`."""
    return run / SUBMISSIONS / datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")


def write_record(folder: Path, files: Mapping[str, str]) -> None:
    """Write `files` (name -> text) as `folder`, which appears whole."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    try:
        temporary.mkdir(parents=True)
        for name, text in files.items():
            (temporary / name).write_text(text)
        temporary.rename(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror or error}); nothing was submitted") from None


def about_code(repository: Path) -> dict[str, str]:
    """git.txt: the commit and what differs from it by name; git.diff: how, without what looks like a secret.

    Where there is no git, why not.
    """
    commit, status = ask_git(repository, "rev-parse", "HEAD"), ask_git(repository, "status", "--short")
    diff = masked(ask_git(repository, "diff", "HEAD", "--binary"))
    return {"git.txt": f"commit {commit}\n{status}", "git.diff": diff}


def ask_git(repository: Path, *words: str) -> str:
    try:
        return git(repository, *words)
    except subprocess.CalledProcessError as error:
        return f"unknown: {error.stderr.decode(errors='replace')}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown: {error}\n"


def about_environment(environ: Mapping[str, str] = os.environ) -> str:
    """The machine, the variables that matter here without those that look like secrets, the installed packages."""
    packages = sorted({f"{found.name}=={found.version}" for found in distributions() if found.name}, key=str.lower)
    variables = [f"{name}={shlex.quote(value)}" for name, value in sorted(environ.items()) if is_shown(name, value)]
    head = [f"host {platform.node()}", f"system {platform.platform()}", f"python {sys.version.split()[0]}"]
    return "\n".join([*head, "", *variables, "", *packages, ""])


def is_shown(name: str, value: str) -> bool:
    return bool(SHOWN.match(name)) and not is_secret_name(name) and not is_secret(value)


def as_line(words: Sequence[str]) -> str:
    return shlex.join(words) + "\n"
