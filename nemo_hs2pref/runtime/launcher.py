"""A rank does not outlive the launcher that started it (local_ranks), however that one ended.

Ranks that went on without it would train and save beside those of the next start. Standard library only.
"""

import ctypes
import os
import signal
import sys
from collections.abc import MutableMapping

LAUNCHER = "HS2PREF_LAUNCHER"  # in a rank's environment: process id of its launcher
PR_SET_PDEATHSIG = 1  # prctl(2): the signal of this process when the thread that started it ends


def end_with_launcher(environ: MutableMapping[str, str]) -> None:
    """From now on SIGKILL ends this process with its launcher; at once where that is gone already."""
    launcher = environ.pop(LAUNCHER, None)
    if launcher is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(launcher):  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)
