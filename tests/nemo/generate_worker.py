"""Responses in batches of two prompts, by `hs2pref generate`; prints `computed N` for every batch of N prompts.

usage: generate_worker.py KILLED_AFTER WORDS...    killed after so many batches; -1: never
"""

import os
import signal
import sys
from typing import Any


def main(killed_after: int, words: list[str]) -> None:
    from nemo_hs2pref import cli
    from nemo_hs2pref.generation import loop
    from nemo_hs2pref.generation.policy import Policy

    loop.PLACES_A_BATCH = {"cpu": 500, "cuda": 500}
    complete, done = Policy.complete, [0]

    def count(self: Policy, prompts: Any, *args: Any) -> Any:
        if done[0] == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)
        done[0] += 1
        os.write(1, f"computed {len(prompts)}\n".encode())
        return complete(self, prompts, *args)

    Policy.complete = count
    assert cli.main(["generate", *words]) == 0


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
