"""`hs2pref report`: one page that says whether a reward model can be trusted."""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  # one run: runs/stage2/report/report.html, and the same as report.md with its pictures
  hs2pref evaluate preferences --model runs/stage2/checkpoints/last --input pairs.jsonl --out runs/stage2/evaluation
  hs2pref report runs/stage2

  # several runs beside each other and beside the published rows of the paper's Table 1
  hs2pref report runs/stage1 runs/stage2 runs/expo --out comparison

  # an evaluation alone
  hs2pref report results/llmbar

A run's evaluations are found at any depth in its folder. The page names what a run does not have.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="RUN_DIR", help="folder of a run, a checkpoint or an evaluation"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to write (default: `report` in RUN_DIR, or in the deepest folder that holds all of several)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from nemo_hs2pref.report.write import HTML, MARKDOWN, write_report  # heavy: numpy, OmegaConf

    out = write_report(args.folders, args.out)
    print(f"{out / HTML}  {out / MARKDOWN}")
    return 0
