"""`hs2pref checkpoint`: what a checkpoint is, and whether it is whole."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from nemo_hs2pref.outside import show

VERIFY_EXAMPLES = """examples:
  hs2pref checkpoint verify runs/stage2/checkpoints/last
  hs2pref checkpoint verify reward-hf --json

Reads every byte once: sizes and SHA-256 as listed at save, dtypes, shapes and finite values of all tensors.
exit code: 0 whole, 1 not whole (a line for each problem), 2 no checkpoint
"""
INSPECT_EXAMPLES = """examples:
  hs2pref checkpoint inspect runs/stage2/checkpoints/last
  hs2pref checkpoint inspect reward-hf --json

Reads the small files and the index, no tensor; runs no code that a file may hold.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, description: str, epilog: str) -> argparse.ArgumentParser:
        added = actions.add_parser(
            name,
            help=description,
            description=description[0].upper() + description[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.add_argument("path", type=Path, metavar="PATH", help="checkpoint or Hugging Face folder")
        added.add_argument("--json", action="store_true", help="one JSON object on standard output")
        return added

    action("verify", "check that every file is whole and every number finite", VERIFY_EXAMPLES).set_defaults(
        run=run_verify
    )
    action("inspect", "show what a checkpoint is and where it comes from", INSPECT_EXAMPLES).set_defaults(
        run=run_inspect
    )
    parser.epilog = VERIFY_EXAMPLES


def run_verify(args: argparse.Namespace) -> int:
    from nemo_hs2pref.checkpoint.verification.verify import verify  # heavy: torch, transformers

    report = verify(args.path)
    if args.json:
        print(json.dumps({"whole": not report.problems, **asdict(report)}, indent=2))
        return 1 if report.problems else 0
    show(problem if problem.startswith(str(args.path)) else f"{args.path}/{problem}" for problem in report.problems)
    show(f"note: {note}" for note in report.notes)
    verdict = f"not whole, {len(report.problems)} problems" if report.problems else "whole"
    show([f"{args.path}: {verdict}; {report.files} files, {report.bytes / 1e9:.3f} GB, {report.tensors} tensors"])
    return 1 if report.problems else 0


def run_inspect(args: argparse.Namespace) -> int:
    from nemo_hs2pref.checkpoint.inspection import inspect_checkpoint, lines  # heavy: torch

    found = inspect_checkpoint(args.path)
    show(json.dumps(found, indent=2).split("\n") if args.json else lines(found))
    return 0
