"""Processes that do not outlive the one that started them, however that one ended. Standard library only.

The kernel ends them (prctl(2)), also where they wait for what will never come. It forgets the wish in whatever they
fork, which has to ask anew.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # the signal of this process when the thread that started it ends


def end_with(parent: int) -> None:
    """From now on SIGKILL ends this process with the process `parent`, its parent; at once where that is gone already.

    Linux alone knows this; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)
