"""`hs2pref preflight`: whether this node, and a given run, can work at all."""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from nemo_hs2pref.cli.processes import say
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.preflight import runner
from nemo_hs2pref.preflight.check import SEVERITY, Check, Result
from nemo_hs2pref.preflight.node import Node

EXAMPLES = """examples:
  hs2pref preflight                                     # this machine

  # and what a run needs: checkpoint, data, disk, tokenizer
  hs2pref preflight experiment=rm_stage1_helpfulness data.dir=data/helpsteer2 \\
      pretrained_checkpoint.restore_from_path=checkpoints/llama31_70b exp_manager.explicit_log_dir=runs/stage1

  # every node of a job, with the speed of the network; the job scripts of slurm/ do this before training
  srun --ntasks-per-node=1 --kill-on-bad-exit=0 hs2pref preflight --bandwidth 100 experiment=...

Exit code 0: nothing failed on this node; 1: something failed; 2: the configuration itself cannot be used.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("--config-name", metavar="NAME", help="in conf/; default: that of the recipe, or train_rm")
    parser.add_argument("--json", action="store_true", help="one line of JSON a node")
    parser.add_argument("--wait", type=float, default=300, metavar="SECONDS", help="how long nodes wait for each other")
    parser.add_argument(
        "--bandwidth",
        type=float,
        metavar="GB_S",
        help="measure all_reduce among all ranks too; less than this bus bandwidth fails, 0 measures only",
    )
    parser.add_argument("--skip", metavar="NAME,...", help="checks to leave out, by their names")
    parser.add_argument(
        "overrides", nargs="*", metavar="[RECIPE] key=value", help="what is trained (default: rm), and Hydra overrides"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if int(os.environ.get("SLURM_LOCALID", 0)):
        return 0  # one process a node is enough
    node = Node.here(os.environ)
    results: list[Result] = []
    for result in look(args, node):
        results.append(result)
        if not args.json:
            show(result, node)
    broken = [named(result) for result in results if result.status == "failed"]
    if args.json:
        checks = [asdict(result) for result in results]
        print(json.dumps({"node": node.name, "ok": not broken, "checks": checks}), flush=True)
    elif not broken:
        print(f"{node.name}: {counted(results)}", flush=True)
    if broken:
        say(args.verb, f"error: {node.name}: {len(broken)} of {len(results)} checks failed: {', '.join(broken)}")
    return 1 if broken else 0


def named(result: Result) -> str:
    """In the line that slurm/frame/preflight.sh reads: a check without an answer says nothing of the configuration."""
    return f"{result.name} (no answer)" if result.is_stuck else result.name


def look(args: argparse.Namespace, node: Node) -> Iterator[Result]:
    """Results in the order of the list; what the first node answers for all is skipped on the others."""
    from nemo_hs2pref.preflight import checks  # heavy: hydra

    config, listed = None, list[Check]()
    if args.config_name or args.overrides:
        from nemo_hs2pref.recipes.table import chosen

        recipe, overrides = chosen(args.config_name, args.overrides)
        config, resolved = recipe.load(overrides)
        listed = checks.run_checks(recipe, config, resolved, node, os.environ, args.wait)
    listed = checks.machine_checks(config, node, os.environ, args.wait) + listed
    left_out = names_in(args.skip or "", [check.name for check in listed])
    wanted = [check for check in listed if check.name not in left_out]
    yield from runner.run([check for check in wanted if node.is_first or not check.first_node_only])
    if args.bandwidth is not None:
        yield from runner.run([checks.bandwidth_check(config, node, os.environ, args.bandwidth)])


def names_in(given: str, known: Sequence[str]) -> set[str]:
    """What --skip names; raises ConfigError for what is no check of this machine or run."""
    names = {name for name in given.split(",") if name}
    if unknown := sorted(names - set(known)):
        raise ConfigError(f"--skip {given}: no check {unknown[0]}; there are {', '.join(known)}")
    return names


def show(result: Result, node: Node) -> None:
    """A line a check and one for its hint. Of many nodes the first says all, the others what is not well."""
    if not node.is_first and result.status in ("ok", "skipped"):
        return
    where = f"{node.name}: " if node.count > 1 else ""
    print(f"{where}{result.status:<8} {result.name:<12} {result.seconds:6.1f} s  {result.text}", flush=True)
    if result.hint:
        print(f"{where}{'':<8} {'':<12} {'':8}  hint: {result.hint}", flush=True)


def counted(results: list[Result]) -> str:
    """`15 ok, 2 warning, 3 skipped`"""
    counts = {status: sum(result.status == status for result in results) for status in reversed(SEVERITY)}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)
