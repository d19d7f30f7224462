"""Several processes from one command: started here on this machine, or by srun or torchrun."""

import argparse
import functools
import multiprocessing
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nemo_hs2pref import run_state
from nemo_hs2pref.errors import ConfigError, HS2PrefError
from nemo_hs2pref.masking import masked
from nemo_hs2pref.runtime.process import slurm_step, stop_signals
from nemo_hs2pref.runtime.process.launcher import end_with_launcher

if TYPE_CHECKING:  # it imports torch
    from nemo_hs2pref.runtime.process.ranks import Ranks

Run = Callable[[argparse.Namespace], int]
INNER_LINE, END_AND_INDENT = re.compile(r"\n(?! )"), "\n  "


def is_started() -> bool:
    """This process is one of a group already: a launcher placed it, or `as_rank` did for srun."""
    return slurm_step.is_placed(os.environ)


def is_first() -> bool:
    """This process writes files and prints results."""
    return slurm_step.is_first(os.environ)


def as_rank(run: Run) -> Run:
    """A verb's `run` that joins the other ranks, where there are any, before it does anything else.

    Where it fails, the rank that failed first prints what the command line would have printed; the others are
    silent, and all end with the same exit code. The process ends here, whichever way the run went. A verb with a run
    folder names it in args.run_dir; the failure is then kept there too. Before it runs, args.run_dir_of(args) does.
    """

    @functools.wraps(run)
    def run_as_rank(args: argparse.Namespace) -> int:
        end_with_launcher(os.environ)
        stop_signals.await_usr1()
        slurm_step.adopt(os.environ)
        if not is_started():
            return run_alone(run, args)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who started the ranks is interrupted too, and says so
        # Under srun rank 0 holds the store, and torch has a page of C++ for each call to it after its end.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from nemo_hs2pref.runtime.process.ranks import join  # heavy: torch

        ranks = None
        try:
            ranks = join()
            result = run(args)
            ranks.leave()
        except Exception as error:
            stop_signals.catch(signal.SIGTERM)  # comes to all ranks when another was killed; fail() asks for it
            result = fail(ranks, args, error) if ranks else fail_unmet(args, error)
        end_now(result)

    return run_as_rank


def run_alone(run: Run, args: argparse.Namespace) -> int:
    try:
        return run(args)
    except Exception as error:
        record(args, 0, *explained(error))
        raise


def fail(ranks: "Ranks", args: argparse.Namespace, error: Exception) -> int:
    message, code = explained(error)

    def speak(where: str) -> None:
        say(args.verb, f"error: {where}{message}")
        record(args, ranks.rank, message, code)

    return ranks.fail(error, code, speak)


def fail_unmet(args: argparse.Namespace, error: Exception) -> int:
    """Of a rank that did not come to the others: there is nobody to agree with, so it speaks for itself."""
    message, code = explained(error)
    rank = int(os.environ["RANK"])
    say(args.verb, f"error: rank {rank}: {message}")
    with suppress(HS2PrefError):  # a faulty configuration is told by those that meet
        args.run_dir = args.run_dir_of(args) if hasattr(args, "run_dir_of") else None
    record(args, rank, message, code)
    return code


def explained(error: Exception) -> tuple[str, int]:
    """What is said of it, and the exit code: 2 for what a user can mend, else 1; a traceback if it is none of ours."""
    if isinstance(error, HS2PrefError):
        return str(error), error.exit_code
    return "".join(traceback.format_exception(error)).rstrip(), 1


def record(args: argparse.Namespace, rank: int, message: str, code: int) -> None:
    run_dir: Path | None = getattr(args, "run_dir", None)
    if run_dir is not None:
        run_state.record_failure(run_dir, rank=rank, message=masked(message), exit_code=code)


def end_now(code: int) -> NoReturn:
    """End this process, with what it started, past Python's and torch's finalisers.

    They take seconds, may wait for a collective that nobody will join, and warn below the message. After a run that
    went well gloo's threads, still at work when Python's interpreter goes, may abort the process (pytorch #190489).
    """
    for child in multiprocessing.active_children():
        child.kill()  # SIGTERM is blocked in what a save has started
    if importers := sys.modules.get("nemo_hs2pref.checkpoint.importers.view"):
        importers.remove_views()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def start(count: int, words: Sequence[str], run_dir: Path | None = None) -> int:
    """Run `hs2pref WORDS...` in `count` processes of this machine; returns the exit code of the first that fails.

    When one fails the others are stopped. It has said why, unless a signal killed it: then that is said here.
    """
    from nemo_hs2pref.runtime.process.local_ranks import LocalRanks  # heavy: torch

    ranks = LocalRanks(count, words)
    rank, code = ranks.wait()
    if code >= 0:
        return code
    if -code in ranks.received:
        say(words[0], f"stopped by {signal.Signals(-code).name}")
        return 128 - code
    message = killed(rank, code)
    say(words[0], f"error: {message}")
    if run_dir is not None:
        run_state.record_failure(run_dir, rank=rank, message=message, exit_code=128 - code)
    return 128 - code


def killed(rank: int, code: int) -> str:
    """What a rank that was killed could not say."""
    hint = "; was there too little memory?" if code == -signal.SIGKILL else ""
    return f"rank {rank} was killed by signal {-code} ({signal.Signals(-code).name}){hint}"


def say(verb: str, sentence: str) -> None:
    """On standard error; what goes on in further lines is indented, so that no text of a file can pass for another."""
    print(f"hs2pref {verb}: {INNER_LINE.sub(END_AND_INDENT, sentence)}", file=sys.stderr, flush=True)


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
    """A number of things, of which there must be one: processes, or tokens."""
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
