"""A rank does not outlive the launcher that started it (local_ranks), however that one ended.

Ranks that went on without it would train and save beside those of the next start. Standard library only.
"""

from collections.abc import MutableMapping

from nemo_hs2pref import parent

LAUNCHER = "HS2PREF_LAUNCHER"  # in a rank's environment: process id of its launcher


def end_with_launcher(environ: MutableMapping[str, str]) -> None:
    """From now on SIGKILL ends this process with its launcher; at once where that is gone already."""
    launcher = environ.pop(LAUNCHER, None)
    if launcher is not None:
        parent.end_with(int(launcher))
