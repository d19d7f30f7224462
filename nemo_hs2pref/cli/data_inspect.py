"""`hs2pref data inspect`: what a data file or a prepared folder holds, before anything is trained on it."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nemo_hs2pref.cli.processes import say
from nemo_hs2pref.data.inspection.facts import FileFacts
from nemo_hs2pref.data.inspection.paths import inspect_path
from nemo_hs2pref.data.inspection.reading import Sampling
from nemo_hs2pref.data.inspection.rendering import Renderer
from nemo_hs2pref.data.inspection.report import report
from nemo_hs2pref.data.inspection.samples import samples
from nemo_hs2pref.data.preparation.output import MANIFEST
from nemo_hs2pref.data.templates import DEFAULT_TEMPLATE, TEMPLATES
from nemo_hs2pref.errors import ConfigError

SUMMARY = "show what a data file or folder holds: counts, lengths, strengths, ratings, random rows, and a picture"
DEFAULT_PICTURE = "inspect.png"
DEFAULT_SAMPLES = 2
DEFAULT_TOKEN_ROWS = 2000
DEFAULT_SEED = 1234

EXAMPLES = """examples:
  hs2pref data inspect data/helpsteer2
  hs2pref data inspect data/helpsteer2/pairs.train.jsonl --samples 5 --full
  hs2pref data inspect data/helpsteer2 --tokenizer checkpoints/llama31_70b/tokenizer --token-rows 10000
  hs2pref data inspect downloads/HelpSteer2/train.jsonl.gz --samples 0 --no-plot
  hs2pref data inspect data/helpsteer2 --json > facts.json

PATH is a folder that `data prepare` wrote, any folder with .jsonl, .jsonl.gz or .parquet files, or one such file: rated
responses, pairs, conversations, prompts, NeMo-Aligner's rows, or HelpSteer2's files as released.

Exit code: 0; 1 if a row is malformed or a file is not as its manifest says; 2 if there is nothing to inspect.
"""


def configure_inspect(parser: argparse.ArgumentParser) -> None:
    """Add the arguments, `run` and the description to the parser of the action."""
    parser.add_argument("path", metavar="PATH", help="a folder or a file of rows")
    parser.add_argument(
        "--samples", type=int, default=DEFAULT_SAMPLES, metavar="N", help="random rows to show of each file"
    )
    parser.add_argument("--full", action="store_true", help="show long texts whole, their middle too")
    parser.add_argument(
        "--tokenizer", metavar="PATH", help="tokenizer that counts tokens: a folder (CHECKPOINT/tokenizer) or a hub id"
    )
    parser.add_argument(
        "--template", choices=TEMPLATES, default=DEFAULT_TEMPLATE, help="template of the shown and counted texts"
    )
    parser.add_argument(
        "--token-rows", type=int, default=DEFAULT_TOKEN_ROWS, metavar="N", help="random rows to tokenise of each file"
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="seed of the random rows")
    parser.add_argument(
        "--json", action="store_true", help="print the facts as JSON; no rows, and no picture without --plot"
    )
    picture = parser.add_mutually_exclusive_group()
    picture.add_argument("--plot", metavar="FILE", help=f"the picture to write ({DEFAULT_PICTURE}, unless --json)")
    picture.add_argument("--no-plot", action="store_true", help="write no picture")
    parser.set_defaults(run=run_inspect)
    parser.description, parser.epilog = f"{SUMMARY[0].upper()}{SUMMARY[1:]}.", EXAMPLES


def run_inspect(args: argparse.Namespace) -> int:
    """Print what is found and write the picture; the exit code says whether all is sound."""
    if args.samples < 0 or args.token_rows < 1:
        given = f"--samples {args.samples} --token-rows {args.token_rows}"
        raise ConfigError(f"{given}: expected at least 0 rows to show and 1 to tokenise")
    picture = _picture(args)
    renderer = Renderer(args.template, args.tokenizer)
    facts = inspect_path(Path(args.path), Sampling(args.samples, args.token_rows, args.seed), renderer)
    if args.json:
        _print(json.dumps(facts.to_json(), indent=2))
    else:
        shown = samples(facts.files, renderer, full=args.full)
        _print(report(facts, renderer) + (f"\n\n{shown}" if shown else ""))
    if picture is not None:
        _draw(facts.files, picture, quiet=args.json)
    return 0 if facts.is_sound else 1


def _picture(args: argparse.Namespace) -> Path | None:
    """Where the picture goes; never into a prepared folder, which may hold only what its manifest names."""
    if args.no_plot or (args.json and not args.plot):
        return None
    picture = Path(args.plot or DEFAULT_PICTURE)
    folder, inspected = picture.absolute().parent.resolve(), Path(args.path).resolve()
    if inspected not in (folder, *folder.parents) and not (folder / MANIFEST).exists():
        return picture
    if args.plot:
        raise ConfigError(f"--plot {picture} would lie among the data; choose another place")
    say("data", f"no picture: {picture} would lie among the data; --plot FILE puts it elsewhere")
    return None


def _draw(files: Sequence[FileFacts], picture: Path, *, quiet: bool) -> None:
    try:
        from nemo_hs2pref.plots.inspection import plot_inspection  # heavy: matplotlib, which may be missing
    except ImportError as error:
        say("data", f"no picture: the package `matplotlib` is missing ({error}); install nemo-hs2pref[nemo]")
        return
    if plot_inspection(files, picture) and not quiet:
        _print(f"\nPicture: {picture}")


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `| head` has seen enough; what follows goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
