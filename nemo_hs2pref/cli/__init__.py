"""The command line: `hs2pref VERB ...`, one module a verb, imported only when it is asked for.

A verb module offers `configure(parser)`, which adds arguments and sets `run`, a function of the parsed
arguments that returns the exit code. Heavy imports (torch, NeMo) happen inside `run`, so that every
`--help` answers at once and works where NeMo is not installed.
"""

import argparse
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from nemo_hs2pref import __version__
from nemo_hs2pref.cli.parser import Parser
from nemo_hs2pref.cli.processes import say
from nemo_hs2pref.errors import HS2PrefError
from nemo_hs2pref.outside import visible_output

VERBS = {
    "quickstart": "base model, data, regression, scaled Bradley-Terry, ExPO and evaluation, end to end",
    "data": "prepare ratings and preference pairs, and inspect them",
    "plan": "layout, batches, parameters, memory and disk of a run, before it starts",
    "train": "train a model from a Hydra configuration",
    "preflight": "check whether this node, and a given run, can work at all",
    "submit": "check a run and queue it on a SLURM cluster",
    "status": "where a run stands: step, rate, time left, last checkpoint, how it ended",
    "convert": "checkpoints from and to Hugging Face; LoRA adapters into a whole model",
    "extrapolate": "ExPO: extrapolate from a weak to a strong model; averages of models",
    "checkpoint": "what a checkpoint is, and whether it is whole",
    "score": "reward of every row of a file",
    "generate": "responses of a language model to every prompt of a file",
    "standardize": "mean and std of a reward model's rewards, stored with its checkpoint",
    "evaluate": "accuracy of a reward model on preference pairs and on RewardBench",
    "report": "one page about a run, or several, that says whether the reward model can be trusted",
    "reproduce": "the reward models of the paper's Table 1, trained and compared",
}


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the examples' line breaks and shows defaults where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False, [], "") else super()._get_help_string(action)


def build_parser(verb: str | None) -> argparse.ArgumentParser:
    """The parser; only `verb`'s own arguments are filled in, the other verbs are names with a line of help."""
    parser = Parser(
        prog="hs2pref",
        description="HelpSteer2-Preference on NeMo-Aligner: reward models from ratings and preferences.",
        epilog="`hs2pref VERB --help` explains a verb with examples.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, summary in VERBS.items():
        subparser = subparsers.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + ".", formatter_class=HelpFormatter
        )
        if name == verb:
            importlib.import_module(f"nemo_hs2pref.cli.{name}").configure(subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; an error of ours ends in one sentence on stderr and its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    verb = next((word for word in argv if word in VERBS), None)
    with visible_output():
        return obey(verb, argv)


def obey(verb: str | None, argv: Sequence[str]) -> int:
    try:
        args = parse(build_parser(verb), argv)
        code = args.run(args)
        sys.stdout.flush()
        return code
    except HS2PrefError as error:
        say(str(verb), f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say(str(verb), "interrupted")
        return 130
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception:  # here, where what it holds of files is made visible
        traceback.print_exc()
        return 1


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse, with key=value overrides before and after options: argparse alone takes only those that come first."""
    args, rest = parser.parse_known_args(argv)
    unknown = [word for word in rest if word.startswith("-") or not hasattr(args, "overrides")]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:
        args.overrides += rest
    args.words = list(argv)  # for processes.start_layout
    return args
