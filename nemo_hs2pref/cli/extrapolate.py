"""`hs2pref extrapolate`: ExPO."""

import argparse
from pathlib import Path

EXAMPLES = """examples:
  # the paper's 94.1 on RewardBench: helpfulness regression, scaled Bradley-Terry from it, factor 1.52
  hs2pref extrapolate --weak runs/stage1/checkpoints/last --strong runs/stage2/checkpoints/last --alpha 1.52 --out expo

C = A + alpha (B - A): alpha 0 is the weak model, 1 the strong one.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--weak", type=Path, required=True, metavar="A", help="checkpoint that the strong one started from"
    )
    parser.add_argument("--strong", type=Path, required=True, metavar="B", help="checkpoint trained further")
    parser.add_argument("--alpha", type=float, default=1.52, help="extrapolation factor")
    parser.add_argument("--out", type=Path, required=True, metavar="C", help="checkpoint to write; must not exist")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from nemo_hs2pref.checkpoint.expo import extrapolate_checkpoints  # heavy: torch

    count = extrapolate_checkpoints(args.weak, args.strong, args.alpha, args.out)
    print(f"{args.out}: {count} tensors, {args.weak} + {args.alpha:g} x ({args.strong} - {args.weak})")
    return 0
