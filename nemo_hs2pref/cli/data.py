"""`hs2pref data`: `prepare` turns a data set into the files that training reads, `inspect` shows what is in one."""

import argparse
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nemo_hs2pref.cli import data_inspect
from nemo_hs2pref.data.doubts import sentences
from nemo_hs2pref.data.formats import official
from nemo_hs2pref.data.preparation.length import LengthLimit
from nemo_hs2pref.data.preparation.output import MANIFEST
from nemo_hs2pref.data.preparation.prepare import DEFAULT_FORMAT, DEFAULT_SEED, FORMATS, PICTURE, Options, prepare
from nemo_hs2pref.data.preparation.views import VIEWS
from nemo_hs2pref.data.reading.split import VALIDATION_SHARE
from nemo_hs2pref.data.statistics.table import table
from nemo_hs2pref.data.templates import DEFAULT_TEMPLATE, TEMPLATES
from nemo_hs2pref.data.unread import named
from nemo_hs2pref.errors import ConfigError

PREPARE_EXAMPLES = """examples:
  # HelpSteer2 and HelpSteer2-Preference from the hub, at the revision whose rows and hashes are known
  hs2pref data prepare --source nvidia/HelpSteer2 --out data/helpsteer2 --max-length 4096 \\
      --tokenizer checkpoints/llama31_70b/tokenizer

  # from files downloaded earlier; stop unless they are the released ones
  hs2pref data prepare --source downloads/HelpSteer2 --out data/helpsteer2 --strict

  # a team's own annotations, three to five people a task (docs/data.md)
  hs2pref data prepare --format annotations --source tasks.jsonl --out data/ours --on-bad-row skip

  # chosen and rejected responses from anywhere; also prompts for RL and NeMo-Aligner's own rows
  hs2pref data prepare --format pairs --source ultrafeedback.parquet --out data/uf --also prompts aligner

  # HelpSteer3's preferences
  hs2pref data prepare --format helpsteer3 --source nvidia/HelpSteer3 --out data/helpsteer3

  # the data of HelpSteer2's baselines
  hs2pref data prepare --format hh-rlhf --source downloads/hh-rlhf/helpful-base --out data/hh-helpful
  hs2pref data prepare --format oasst --source downloads/2023-04-12_oasst_all.trees.jsonl.gz --out data/oasst
"""


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "turn a data set into rated responses and preference pairs for training"
    configure_prepare(
        actions.add_parser(
            "prepare",
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=PREPARE_EXAMPLES,
            formatter_class=parser.formatter_class,
        )
    )
    data_inspect.configure_inspect(
        actions.add_parser("inspect", help=data_inspect.SUMMARY, formatter_class=parser.formatter_class)
    )
    parser.epilog = PREPARE_EXAMPLES


def configure_prepare(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--format", choices=FORMATS, default=DEFAULT_FORMAT, help="the data set that SOURCE is")
    verb.add_argument(
        "--source",
        required=True,
        help="a folder with its files (.jsonl, .jsonl.gz, .parquet), one of them, a hub id with or without @REVISION, "
        "or `sample` (helpsteer2)",
    )
    verb.add_argument("--out", required=True, help="folder to write: new, empty, or from an earlier preparation")
    verb.add_argument("--max-length", type=int, metavar="N", help="drop rows with more tokens; needs --tokenizer")
    verb.add_argument(
        "--tokenizer", metavar="PATH", help="tokenizer that counts them: a folder (CHECKPOINT/tokenizer) or a hub id"
    )
    verb.add_argument(
        "--template",
        choices=TEMPLATES,
        help=f"template of the text whose tokens are counted (default: {DEFAULT_TEMPLATE})",
    )
    also = "; ".join(f"{name}: {view.help}" for name, view in VIEWS.items())
    verb.add_argument("--also", nargs="+", choices=VIEWS, default=[], metavar="NAME", help=f"further files. {also}")
    verb.add_argument("--seed", type=int, default=DEFAULT_SEED, help="seed of the shuffle and of --swap-responses")
    verb.add_argument(
        "--swap-responses",
        action="store_true",
        help="exchange responses 1 and 2 of each pair with probability 1/2, against a bias for a position",
    )
    verb.add_argument(
        "--validation-share",
        type=float,
        default=VALIDATION_SHARE,
        metavar="X",
        help="share of the prompts that is held out where the source does not say",
    )
    verb.add_argument(
        "--on-bad-row",
        choices=["stop", "skip"],
        default="stop",
        help="malformed rows: report all and stop, or leave them out and count them in the manifest",
    )
    verb.add_argument("--strict", action="store_true", help="stop where a source is not HelpSteer2 as released")
    verb.set_defaults(run=run_prepare)


def run_prepare(args: argparse.Namespace) -> int:
    if not 0 <= args.validation_share < 1:
        raise ConfigError(f"--validation-share {args.validation_share} is no share; expected 0 or more, below 1")
    if args.strict and not official.is_meant(args.format, args.source):
        raise ConfigError("--strict compares with HelpSteer2 as released; this source is something else, leave it out")
    options = Options(
        format_name=args.format,
        seed=args.seed,
        limit=_limit(args),
        also=tuple(dict.fromkeys(args.also)),
        swap_responses=args.swap_responses,
        validation_share=args.validation_share,
        skip_bad_rows=args.on_bad_row == "skip",
        strict=args.strict,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # cleans up, as an interrupt does
    manifest = prepare(args.source, args.out, options, _drawing())
    print(_summary(args.out, manifest))
    for warning in _warnings(manifest):
        print(f"hs2pref data: warning: {warning}", file=sys.stderr)
    return 0


def _warnings(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield from (manifest["release"] or {}).get("differences", ())
    yield from sentences(manifest["doubts"])
    rows = {name: output["rows"] for name, output in manifest["outputs"].items() if "rows" in output}
    for name, count in rows.items():
        if not count and rows.get(name.replace("validation", "train")):
            yield f"{name} has no row: nothing of its kind is held out; --validation-share can ask for more"
    for output, found in (manifest["swapped"] or {}).items():
        if manifest["outputs"][f"{output}.jsonl"]["rows"] and not found["swappable"]:
            yield (
                f"--swap-responses changes nothing in {output}: its rows have no chosen_position, no justification and "
                "no second response to their prompt, so that nothing says which response was the first"
            )


def _limit(args: argparse.Namespace) -> LengthLimit | None:
    if (args.max_length is None) != (args.tokenizer is None):
        raise ConfigError("--max-length and --tokenizer belong together: tokens are counted with the model's tokenizer")
    if args.max_length is None:
        if args.template:
            raise ConfigError("--template is for counting tokens; it needs --max-length and --tokenizer")
        return None
    if args.max_length < 1:
        raise ConfigError(f"--max-length {args.max_length} keeps nothing; expected at least 1 token")
    return LengthLimit(args.max_length, args.tokenizer, args.template or DEFAULT_TEMPLATE)


def _drawing() -> Any:
    """The function that draws the statistics, where matplotlib is installed."""
    try:
        from nemo_hs2pref.plots.statistics import plot_statistics  # heavy: matplotlib
    except ImportError:
        return None
    return plot_statistics


def _summary(out: str, manifest: Mapping[str, Any]) -> str:
    """What was written and dropped, and the statistics; the papers' figures beside those of their data."""
    lines = [f"{out}: prepared from {manifest['source']}"]
    files = {name: output for name, output in manifest["outputs"].items() if "rows" in output}
    width = max(map(len, files))
    for name, output in files.items():
        rated = f"   with ratings: {output['with_ratings']:,}" if output.get("with_ratings") else ""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in output.get("dropped", {}).items())
        dropped = f"   dropped: {reasons}" if reasons else ""
        lines.append(f"  {name:<{width}} {output['rows']:>9,} rows{rated}{dropped}")
    if manifest["bad_rows"]["skipped"]:
        lines += [f"  {manifest['bad_rows']['skipped']:,} malformed rows were skipped (--on-bad-row skip):"]
        lines += [f"    {fault}" for fault in manifest["bad_rows"]["first"]]
    if manifest["ignored_keys"]:
        lines.append(f"  keys that are not read, with the rows that have them: {named(manifest['ignored_keys'])}")
    release = manifest["release"]
    if release and not release["differences"]:
        pairs = " and ".join(f"{count:,} {split}" for split, count in official.PAIRS.items())
        compared = "rows and pairs" if release["uncompared"] else "rows, hashes and pairs"
        lines.append(f"  {compared} are the released ones (pairs: {pairs})")
        lines += [f"  {sentence}" for sentence in release["uncompared"]]
    lines += ["", table(manifest["statistics"], published=release is not None), ""]
    written = [MANIFEST, *(name for name in manifest["outputs"] if name == PICTURE)]
    return "\n".join([*lines, "  ".join(str(Path(out) / name) for name in written)])
