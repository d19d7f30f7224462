"""`hs2pref extrapolate`: ExPO, and averages of models."""

import argparse
from pathlib import Path

from nemo_hs2pref.errors import ConfigError

ALPHA = 1.52  # the paper's
EXAMPLES = """examples:
  # the paper's 94.1 on RewardBench: helpfulness regression, scaled Bradley-Terry from it, factor 1.52
  hs2pref extrapolate --weak runs/stage1/checkpoints/last --strong runs/stage2/checkpoints/last --alpha 1.52 --out expo
  # several factors in one pass over the two: expo/alpha-1.3, expo/alpha-1.52, expo/alpha-1.6
  hs2pref extrapolate --weak A --strong B --alpha 1.3 1.52 1.6 --out expo
  # a model soup; without --weights all count alike
  hs2pref extrapolate --average runs/seed1 runs/seed2 runs/seed3 --weights 2 1 1 --out soup

C = A + alpha (B - A): alpha 0 is the weak model, 1 the strong one.
Models are checkpoints of ours or Hugging Face folders with safetensors; what is written is of the same kind.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("--weak", type=Path, metavar="A", help="the model that the strong one started from")
    parser.add_argument("--strong", type=Path, metavar="B", help="the model trained further")
    parser.add_argument(
        "--alpha",
        type=float,
        nargs="+",
        help=f"extrapolation factor, or several, each a folder in C (default: {ALPHA})",
    )
    parser.add_argument("--average", type=Path, nargs="+", metavar="MODEL", help="average these models instead")
    parser.add_argument(
        "--weights", type=float, nargs="+", metavar="W", help="weights of --average, one a model, divided by their sum"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="C", help="folder to write; must not exist")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    given = [name for name in ("weak", "strong", "alpha", "average", "weights") if getattr(args, name) is not None]
    if args.average and set(given) <= {"average", "weights"}:
        return run_average(args)
    if args.weak and args.strong and set(given) <= {"weak", "strong", "alpha"}:
        return run_extrapolate(args)
    raise ConfigError(f"got {' '.join(f'--{name}' for name in given)}; give --weak and --strong, or --average alone")


def run_extrapolate(args: argparse.Namespace) -> int:
    from nemo_hs2pref.checkpoint.merging.expo import extrapolate_checkpoints  # heavy: torch

    alphas = dict.fromkeys(args.alpha or [ALPHA])
    outs = {alpha: args.out / f"alpha-{alpha:.15g}" if len(alphas) > 1 else args.out for alpha in alphas}
    count = extrapolate_checkpoints(args.weak, args.strong, outs)
    for alpha, out in outs.items():
        print(f"{out}: {count} tensors, {args.weak} + {alpha:g} x ({args.strong} - {args.weak})")
    return 0


def run_average(args: argparse.Namespace) -> int:
    from nemo_hs2pref.checkpoint.merging.expo import average_checkpoints  # heavy: torch

    count = average_checkpoints(args.average, args.weights, args.out)
    print(f"{args.out}: {count} tensors, the average of {len(args.average)} models")
    return 0
