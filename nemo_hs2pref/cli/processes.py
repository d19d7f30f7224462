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


def are_missing(args: argparse.Namespace) -> bool:
    """The layout of `add_layout` asks for several processes, and this is the only one."""
    return args.tensor_parallel * args.pipeline_parallel > 1 and not is_started()


def start_layout(args: argparse.Namespace, words: Sequence[str]) -> int:
    """Become as many processes as the layout asks for, each with `hs2pref WORDS...` in it; does not return."""
    layout = ("--tensor-parallel", str(args.tensor_parallel), "--pipeline-parallel", str(args.pipeline_parallel))
    return start(args.tensor_parallel * args.pipeline_parallel, [*words, *layout])


def add_layout(parser: argparse.ArgumentParser) -> None:
    """How a model that one device cannot hold is spread."""
    parser.add_argument("--tensor-parallel", type=int, default=1, metavar="N", help="devices a layer is split over")
    parser.add_argument("--pipeline-parallel", type=int, default=1, metavar="N", help="devices the layers are dealt to")
