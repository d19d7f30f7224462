"""Several processes from one command: torchrun on this machine, or the ranks that a cluster has started."""

import argparse
import os
import sys
from collections.abc import Sequence


def is_started() -> bool:
    """This process is one of a group already (torchrun or a launcher set RANK)."""
    return "RANK" in os.environ


def is_first() -> bool:
    """The process that writes files and prints results."""
    return int(os.environ.get("RANK", 0)) == 0


def start(count: int, words: Sequence[str]) -> int:
    """Become torchrun with `hs2pref WORDS...` in `count` processes; does not return."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    os.execv(sys.executable, [sys.executable, *torchrun, "-m", "nemo_hs2pref.cli", *words])


def add_layout(parser: argparse.ArgumentParser) -> None:
    """How a model that one device cannot hold is spread."""
    parser.add_argument("--tensor-parallel", type=int, default=1, metavar="N", help="devices a layer is split over")
    parser.add_argument("--pipeline-parallel", type=int, default=1, metavar="N", help="devices the layers are dealt to")
