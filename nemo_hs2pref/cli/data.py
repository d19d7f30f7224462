"""`hs2pref data prepare`: HelpSteer2, or a data set it was compared with, as the files that training reads."""

import argparse

from nemo_hs2pref.data.length import LengthLimit
from nemo_hs2pref.data.prepare import DEFAULT_FORMAT, DEFAULT_SEED, FORMATS, prepare
from nemo_hs2pref.errors import ConfigError

EXAMPLES = """examples:
  hs2pref data prepare --source sample --out data/sample
  hs2pref data prepare --source downloads/HelpSteer2 --out data/hs2 --max-length 4096 --tokenizer Llama-3.1-70B-Instruct
  hs2pref data prepare --source nvidia/HelpSteer2@990b2711a36180dd19d9c94b8627844866f8982a --out data/hs2
  hs2pref data prepare --format helpsteer --source nvidia/HelpSteer --out data/helpsteer
  hs2pref data prepare --format hh-rlhf --source downloads/hh-rlhf --out data/hh
  hs2pref data prepare --format hh-rlhf --source downloads/hh-rlhf/helpful-base --out data/hh-helpful
  hs2pref data prepare --format oasst --source downloads/2023-04-12_oasst_all.trees.jsonl.gz --out data/oasst
"""


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "turn official files into rated responses and preference pairs for training"
    verb = actions.add_parser(
        "prepare", help=summary, description=summary, epilog=EXAMPLES, formatter_class=parser.formatter_class
    )
    verb.add_argument("--format", choices=FORMATS, default=DEFAULT_FORMAT, help="the data set that SOURCE is")
    verb.add_argument(
        "--source",
        required=True,
        help="a folder with the official files, one of them, a hub id with @REVISION or not, or `sample` (helpsteer2)",
    )
    verb.add_argument("--out", required=True, help="folder to write: new, empty, or from an earlier preparation")
    verb.add_argument("--max-length", type=int, metavar="N", help="drop what has more tokens; needs --tokenizer")
    verb.add_argument("--tokenizer", metavar="PATH", help="Hugging Face tokenizer that counts them")
    verb.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of the shuffle")
    verb.set_defaults(run=run)
    parser.epilog = EXAMPLES


def run(args: argparse.Namespace) -> int:
    manifest = prepare(args.source, args.out, format_name=args.format, seed=args.seed, limit=_limit(args))
    print(f"{args.out}: prepared from {args.source}")
    for name, output in manifest["outputs"].items():
        dropped = ", ".join(f"{count} {reason}" for reason, count in output["dropped"].items() if count)
        rated = f"   with ratings: {output['with_ratings']}" if output.get("with_ratings") else ""
        print(f"  {name:<26} {output['rows']:>6} rows{rated}" + (f"   dropped: {dropped}" if dropped else ""))
    return 0


def _limit(args: argparse.Namespace) -> LengthLimit | None:
    if (args.max_length is None) != (args.tokenizer is None):
        raise ConfigError("--max-length and --tokenizer belong together: tokens are counted with the model's tokenizer")
    if args.max_length is None:
        return None
    if args.max_length < 1:
        raise ConfigError(f"--max-length {args.max_length} keeps nothing; expected at least 1 token")
    return LengthLimit(args.max_length, args.tokenizer)
