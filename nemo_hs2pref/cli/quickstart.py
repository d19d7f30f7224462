"""`hs2pref quickstart`: the main job end to end."""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  hs2pref quickstart                                  # the bundled sample, into out/quickstart
  hs2pref quickstart --out /tmp/run --data HelpSteer2 # a folder in the official layout

Writes summary.json, curves.png, and the checkpoints and logs of both stages.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("--out", type=Path, default=Path("out/quickstart"), metavar="DIR", help="folder to write")
    parser.add_argument(
        "--data",
        default="sample",
        metavar="DIR",
        help="what `hs2pref data prepare --source` takes, or a folder that it wrote",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from nemo_hs2pref.quickstart import quickstart  # heavy: numpy

    quickstart(args.out, args.data)
    return 0
