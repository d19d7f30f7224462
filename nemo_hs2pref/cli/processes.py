"""Several processes from one command: started here on this machine, or by torchrun or a cluster."""

import argparse
import functools
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from nemo_hs2pref.errors import ConfigError, HS2PrefError

Run = Callable[[argparse.Namespace], int]
STOP_S = 5  # between the signal that asks the ranks to stop and the one that ends them


def is_started() -> bool:
    """This process is one of a group already (torchrun or a launcher set RANK)."""
    return "RANK" in os.environ


def is_first() -> bool:
    """The process that writes files and prints results."""
    return int(os.environ.get("RANK", 0)) == 0


def as_rank(run: Run) -> Run:
    """A verb's `run` that joins the other ranks, where there are any, before it does anything else.

    Where it fails, the rank that failed first prints what the command line would have printed; the others are
    silent, and all end with the same exit code. The process ends here, whichever way the run went.
    """

    @functools.wraps(run)
    def run_as_rank(args: argparse.Namespace) -> int:
        if not is_started():
            return run(args)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who started the ranks is interrupted too, and says so
        from nemo_hs2pref.runtime.ranks import join  # heavy: torch

        ranks = join()
        try:
            code = run(args)
        except Exception as error:
            expected = isinstance(error, HS2PrefError)
            message = str(error) if expected else "".join(traceback.format_exception(error)).rstrip()
            code = ranks.fail(error, 2 if expected else 1, lambda where: say(args.verb, f"error: {where}{message}"))
        else:
            ranks.leave()
        end_now(code)

    return run_as_rank


def end_now(code: int) -> NoReturn:
    """End this process, with what it started, past Python's and torch's finalisers.

    They take seconds, may wait for a collective that nobody will join, and warn below the message. After a run that
    went well gloo's threads, still at work when Python's interpreter goes, may abort the process (pytorch #190489).
    """
    for child in multiprocessing.active_children():
        child.terminate()
    if foreign := sys.modules.get("nemo_hs2pref.checkpoint.foreign.view"):
        foreign.remove_views()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def start(count: int, words: Sequence[str]) -> int:
    """Run `hs2pref WORDS...` in `count` processes of this machine; returns the exit code of the first that fails.

    When one fails the others are stopped. It has said why, unless a signal killed it: then that is said here.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException  # heavy: torch
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.ERROR)  # a page about what the rank has said
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(STOP_S))
    with tempfile.TemporaryDirectory(prefix="hs2pref-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id="local",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "nemo_hs2pref.cli", *words)
        except ChildFailedError as error:
            end_descendants([failure.pid for failure in error.failures.values()])
            rank, failure = error.get_first_failure()
            return exit_code_of(rank, failure.exitcode, verb=words[0])
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            say(words[0], f"stopped by {error.sigval.name}")
            return 128 + error.sigval
    return 0


def exit_code_of(rank: int, code: int, verb: str) -> int:
    """As a shell counts it; says what a rank that was killed could not say."""
    if code >= 0:
        return code
    hint = "; was there too little memory?" if code == -signal.SIGKILL else ""
    say(verb, f"error: rank {rank} was killed by signal {-code} ({signal.Signals(-code).name}){hint}")
    return 128 - code


def end_descendants(leaders: Sequence[int]) -> None:
    """What the ranks had started (each leads a group of its own) and could not end: megatron-core's writers."""
    for leader in leaders:
        with suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)


def say(verb: str, sentence: str) -> None:
    print(f"hs2pref {verb}: {sentence}", file=sys.stderr, flush=True)


def add_layout(parser: argparse.ArgumentParser) -> None:
    """How a model is spread over processes, one a device."""
    parser.add_argument(
        "--data-parallel", type=count, default=1, metavar="N", help="copies of the model, which share the rows"
    )
    parser.add_argument("--tensor-parallel", type=count, default=1, metavar="N", help="devices a layer is split over")
    parser.add_argument(
        "--pipeline-parallel", type=count, default=1, metavar="N", help="devices the layers are dealt to"
    )


def count(word: str) -> int:
    """A number of processes."""
    if (number := int(word)) < 1:
        raise argparse.ArgumentTypeError(f"{number}; expected 1 or more")
    return number


def size_of(args: argparse.Namespace) -> int:
    """Processes that the layout of `add_layout` asks for."""
    return args.data_parallel * args.tensor_parallel * args.pipeline_parallel


def are_missing(args: argparse.Namespace) -> bool:
    """The layout asks for several processes, and this is the only one.

    Of srun's or torchrun's processes the number counts: what it has more than the model needs are copies.
    """
    if not is_started():
        return size_of(args) > 1
    world, model = int(os.environ["WORLD_SIZE"]), args.tensor_parallel * args.pipeline_parallel
    if world % model or args.data_parallel not in (1, world // model):
        raise ConfigError(
            f"{world} processes were started, and --data-parallel {args.data_parallel} x --tensor-parallel "
            f"{args.tensor_parallel} x --pipeline-parallel {args.pipeline_parallel} is {size_of(args)}; start that many"
        )
    return False


def start_layout(args: argparse.Namespace) -> int:
    """`start` this very command in as many processes as its layout asks for."""
    return start(size_of(args), args.words)
