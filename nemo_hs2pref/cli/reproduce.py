"""`hs2pref reproduce table1`: the paper's comparison of reward models."""

import argparse
from pathlib import Path

from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.laptop import command, is_prepared
from nemo_hs2pref.reproduce.plan import BASE, DATA, Plan, seeds_of, with_starts

EXAMPLES = """examples:
  # all rows of Table 1 with three seeds, on prepared rows; started again, it goes on where it stopped
  hs2pref reproduce table1 --data data/helpsteer2 --out out/table1

  # two rows (and stage 1, from which one of them starts) with one seed, from a base model converted earlier
  hs2pref reproduce table1 --data sample --base base --rows rm_stage2_scaled_bt,rm_scratch_scaled_bt --seeds 1

  # the commands of the paper's own runs
  hs2pref reproduce table1 --scale 70b --data data/helpsteer2 --base checkpoints/llama31_70b --dry-run

Writes OUT/table1.md, table1.json, table1.png, and the run folders OUT/seed_<seed>/<row>.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("what", choices=["table1"], help="table1: reward models of HelpSteer2-Preference")
    parser.add_argument("--scale", choices=["laptop", "70b"], default="laptop", help="70b: with --dry-run only")
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="prepared rows, or what `hs2pref data prepare --source` takes"
    )
    parser.add_argument("--base", type=Path, metavar="CKPT", help="model to start from; laptop: SmolLM2's first layers")
    parser.add_argument(
        "--out", type=Path, default=Path("out/table1"), metavar="DIR", help="folder to write or go on in"
    )
    parser.add_argument("--seeds", metavar="N", help="how many (3), or which (5,7); default: 3 on a laptop, 1 at 70b")
    parser.add_argument("--rows", metavar="A,B", help="only these rows and those they start from (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="Hydra overrides for every training")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from nemo_hs2pref.reproduce.table import markdown  # heavy: numpy
    from nemo_hs2pref.reproduce.table1 import commands, reproduce

    plan = plan_of(args)
    if args.dry_run:
        print(commands(plan, args.data))
        return 0
    from nemo_hs2pref.scoring import open_scorer  # heavy: torch

    summary = reproduce(plan, args.data, command, open_scorer)
    print("\n" + markdown(summary))
    print(*(plan.out / f"table1.{suffix}" for suffix in ("md", "json", "png")), sep="  ")
    return 0


def plan_of(args: argparse.Namespace) -> Plan:
    if args.base is None and args.scale != "laptop":
        raise ConfigError(f"--scale {args.scale} needs --base, the checkpoint of Llama-3.1-70B-Instruct")
    return Plan(
        out=args.out,
        base=args.base or args.out / BASE,
        data=Path(args.data) if is_prepared(args.data) else args.out / DATA,
        scale=args.scale,
        rows=with_starts([row for row in (args.rows or "").split(",") if row]),
        seeds=seeds_of(args.seeds, args.scale),
        overrides=tuple(args.overrides),
    )
