"""`hs2pref plan`: what a configuration will do on how many GPUs, and whether it can."""

import argparse
import json
import math
from pathlib import Path

from nemo_hs2pref.outside import show

EXAMPLES = """examples:
  # the paper's stage 1 as shipped: 64 GPUs of 80 GB
  hs2pref plan experiment=rm_stage1_helpfulness

  # the same on 32 GPUs: does not fit; the nearest layout that does is named
  hs2pref plan experiment=rm_stage1_helpfulness trainer.num_nodes=4

  # sizes of a checkpoint, steps of prepared data, H200 GPUs
  hs2pref plan experiment=rm_stage2_scaled_bt data.dir=data/helpsteer2 \\
      pretrained_checkpoint.restore_from_path=runs/stage1/checkpoints/last --gpu-memory 139

Needs neither GPU, torch nor NeMo. Paths that are not given or not here are left out: sizes are then the model group's.
exit code: 0 it works and fits, 1 it does not fit into --gpu-memory, 2 it cannot work (the rule and the nearest layout)
"""
NOT_GIVEN = ("data.dir", "exp_manager.explicit_log_dir", "pretrained_checkpoint.restore_from_path")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("--config-name", metavar="NAME", help="in conf/; default: that of the recipe, or train_rm")
    parser.add_argument("--gpu-memory", type=gibibytes, default=80, metavar="GIB", help="memory of one GPU")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument(
        "overrides", nargs="*", metavar="[RECIPE] key=value", help="what is trained (default: rm), and Hydra overrides"
    )
    parser.set_defaults(run=run)


def gibibytes(word: str) -> float:
    if not 0 < (number := float(word)) < math.inf:
        raise argparse.ArgumentTypeError(f"{word}; expected more than 0")
    return number


def run(args: argparse.Namespace) -> int:
    from nemo_hs2pref.launch.plan.nearest import nearest_that_works
    from nemo_hs2pref.launch.plan.plan import make_plan
    from nemo_hs2pref.launch.plan.text import as_json, lines, refusal_as_json
    from nemo_hs2pref.launch.stored import stored_config
    from nemo_hs2pref.recipes.table import chosen

    places = [f"{key}=not-given" for key in NOT_GIVEN]  # a later override of the same key wins
    recipe, overrides = chosen(args.config_name, args.overrides)
    config, _ = recipe.load([*places, *overrides])
    checkpoint = stored_config(Path(config.pretrained_checkpoint.restore_from_path))
    if args.json and (faults := recipe.faults_of(config, checkpoint)):
        print(json.dumps(refusal_as_json(faults, nearest_that_works(recipe, config, checkpoint)), indent=2))
        return 2
    plan = make_plan(recipe, config, checkpoint, args.gpu_memory)
    show(json.dumps(as_json(plan), indent=2).split("\n") if args.json else lines(plan))
    return 0 if plan.fits else 1
