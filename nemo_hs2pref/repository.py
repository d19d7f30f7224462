"""What git says of the checkout that the code stands in."""

import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
TIME_LIMIT_S = 60


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
    """What it prints; raises OSError where there is no git, SubprocessError where it fails or does not end.

    In a container the checkout belongs to another user, whom git would not trust.
    """
    command = ["git", "-c", f"safe.directory={checkout}", "-C", str(checkout), *words]
    done = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT_S, check=True)
    return done.stdout.decode(errors="replace")
