"""Waiting for other nodes, with an end."""

import time
from collections.abc import Callable

STEP_S = 0.2


def wait_until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Whether it came to be so in time; asked at least once."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP_S)
    return True
