"""Which code a run is made by."""

import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
TIME_LIMIT_S = 20


def code_version(checkout: Path = CHECKOUT) -> dict[str, str]:
    """{"git_commit": HEAD, with "and changes" where tracked files differ}; empty where the code is no checkout.

    `hs2pref submit` keeps the changes themselves in the run folder.
    """
    if not (checkout / ".git").exists():  # an installed package may lie within somebody's repository
        return {}
    try:
        commit = git(checkout, "rev-parse", "HEAD").strip()
        changed = git(checkout, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git_commit": f"{commit} and changes" if changed else commit}


def git(checkout: Path, *words: str) -> str:
    """In a container the checkout belongs to another user, whom git would not trust."""
    command = ["git", "-c", f"safe.directory={checkout}", "-C", str(checkout), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=True).stdout
