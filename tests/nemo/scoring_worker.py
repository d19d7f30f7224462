"""Scores of one checkpoint in small batches, by `hs2pref score`.

usage: scoring_worker.py killed CHECKPOINT ROWS OUT    OUT/whole.jsonl, then OUT/resumed.jsonl: killed in the middle
       scoring_worker.py resumed CHECKPOINT ROWS OUT   OUT/resumed.jsonl
Prints `computed N` for every batch of N rows.
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

KILLED_AFTER = 2


def main(what: str, checkpoint: str, rows: str, out: str) -> None:
    from nemo_hs2pref import cli
    from nemo_hs2pref.scoring import loop, nemo

    loop.TOKENS_A_BATCH = {"cpu": 4096, "cuda": 4096}
    words = ["score", "--model", checkpoint, "--input", rows, "--output"]
    if what == "killed":
        assert cli.main([*words, f"{out}/whole.jsonl"]) == 0
    forward, done = nemo.NemoModel.forward, [0]

    def count(self: nemo.NemoModel, batch: Sequence[Sequence[int]]) -> Any:
        if what == "killed" and done[0] == KILLED_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)
        done[0] += 1
        os.write(1, f"computed {len(batch)}\n".encode())  # in one piece: two processes have this pipe
        return forward(self, batch)

    nemo.NemoModel.forward = count
    assert cli.main([*words, f"{out}/resumed.jsonl"]) == 0


if __name__ == "__main__":
    main(*sys.argv[1:])
