"""How far scoring or generating is: a bar on a terminal, a line now and then in a log; from the first rank alone.

Rows are sorted by length, so the time left is told by tokens: the last thousand rows take a fraction of the first.
The first rank sees its own share, and takes the others to be as far.
"""

import os
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from nemo_hs2pref.runtime.process import slurm_step

SECONDS_A_LINE = 30.0


class Progress:
    """Of this rank's share, `rows` rows of `tokens` tokens, which stands for all ranks' `total_rows`."""

    def __init__(
        self,
        rows: int,
        tokens: int,
        total_rows: int,
        clock: Callable[[], float] = time.monotonic,
        doing: str = "scoring",
    ) -> None:
        self.doing = doing
        self.rows, self.tokens, self.total_rows, self.clock = rows, tokens, total_rows, clock
        self.done_rows = self.done_tokens = 0
        self.started = self.told = clock()
        self.speaks = slurm_step.is_first(os.environ)
        shown = self.speaks and sys.stderr.isatty()
        self.bar = tqdm(total=tokens, bar_format=doing + " {percentage:3.0f}%|{bar:24}| {desc}") if shown else None

    def update(self, rows: int, tokens: int) -> None:
        """This rank has done so many more."""
        self.done_rows += rows
        self.done_tokens += tokens
        if self.bar is not None:
            self.bar.desc = self.text()
            self.bar.update(tokens)
        elif self.speaks and self.clock() - self.told >= SECONDS_A_LINE:
            self.told = self.clock()
            print(f"{self.doing}: {self.text()}", file=sys.stderr, flush=True)

    def text(self) -> str:
        """`1,234 of 20,000 rows, 35.1 rows/s, 9:04 left`"""
        done = round(self.total_rows * self.done_rows / self.rows)
        seconds = max(self.clock() - self.started, 1e-9)
        left = tqdm.format_interval(seconds * (self.tokens - self.done_tokens) / self.done_tokens)
        return f"{done:,} of {self.total_rows:,} rows, {done / seconds:.1f} rows/s, {left} left"

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
