"""`hs2pref evaluate`: whether a reward model, or a file of scores, prefers what people prefer."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_hs2pref.cli import processes
from nemo_hs2pref.cli.score import MODEL, add_max_length
from nemo_hs2pref.data.unread import named
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.evaluation.goodness import GOODNESS, require_weighed

if TYPE_CHECKING:  # heavy: numpy
    from nemo_hs2pref.evaluation.tasks import Task

EXAMPLES = """examples:
  hs2pref evaluate preferences --model runs/stage2/checkpoints/last --input pairs.validation.jsonl --out results
  hs2pref evaluate preferences --model expo --baseline results --input pairs.validation.jsonl --out results_expo
  hs2pref evaluate preferences --scores scores.jsonl --input pairs.validation.jsonl --out results
  hs2pref evaluate rewardbench --model reward-hf --out results/rewardbench                   # from the hub
  hs2pref evaluate rewardbench --model runs/expo --tensor-parallel 8 --input rewardbench.parquet --out results
  hs2pref evaluate rewardbench --version 2 --model expo --out results/rewardbench2
  hs2pref evaluate rewardbench --goodness llama3-70b --model five-attributes --out results   # as in HelpSteer2's paper

OUT gets summary.json, scores.jsonl and scored_pairs.jsonl; `hs2pref report OUT` makes a page of them. After a
kill the same command goes on: what was scored is not scored again.
"""
HUB = {1: "allenai/reward-bench", 2: "allenai/reward-bench-2"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    benchmarks = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True)

    def add(name: str, summary: str, task: Callable[[argparse.Namespace], "Task"]) -> argparse.ArgumentParser:
        verb = benchmarks.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=EXAMPLES,
            formatter_class=parser.formatter_class,
        )
        verb.set_defaults(run=run, task=task)
        return verb

    verb = add("preferences", "accuracy and calibration on pairs, beside the accuracy of length alone", preferences)
    verb.add_argument("--input", required=True, metavar="PAIRS", help="pairs.jsonl; strengths and ratings are optional")
    add_common(verb)

    verb = add("rewardbench", "the sections of RewardBench, or the domains of RewardBench 2", rewardbench)
    verb.add_argument(
        "--input", metavar="SOURCE", help=f"hub id, folder or file (default: {HUB[1]}, or {HUB[2]} with --version 2)"
    )
    verb.add_argument("--version", type=int, choices=(1, 2), default=1, help="version of RewardBench")
    verb.add_argument("--revision", metavar="COMMIT", help="commit of the repository on the hub")
    verb.add_argument("--prior-sets", action="store_true", help="also the four prior sets of version 1")
    add_common(verb)


def add_common(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    source = verb.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="CKPT", help=f"{MODEL}; it scores the rows now")
    source.add_argument("--scores", metavar="FILE", help='scores.jsonl with the ids "<id>:chosen" and "<id>:rejected"')
    verb.add_argument(
        "--goodness", choices=sorted(GOODNESS), help="weigh the attributes into the reward as the papers do"
    )
    verb.add_argument(
        "--baseline", metavar="PATH", help="results of another model on the same pairs, or its scores.jsonl, to compare"
    )
    add_max_length(verb)
    verb.add_argument(
        "--leave-out-long", action="store_true", help="leave out and count longer rows instead of stopping"
    )
    processes.add_layout(verb)


def preferences(args: argparse.Namespace) -> "Task":
    from nemo_hs2pref.evaluation import tasks

    return tasks.preferences(args.input)


def rewardbench(args: argparse.Namespace) -> "Task":
    from nemo_hs2pref.evaluation import tasks

    source = args.input or HUB[args.version]
    if args.version == 1:
        return tasks.rewardbench(source, args.revision, args.prior_sets)
    if args.prior_sets:
        raise ConfigError("--prior-sets: RewardBench 2 has none; leave it out")
    return tasks.rewardbench2(source, args.revision)


@processes.as_rank
def run(args: argparse.Namespace) -> int:
    if args.scores is None and processes.are_missing(args):
        return processes.start_layout(args)
    from nemo_hs2pref.checkpoint.identity import identity_of
    from nemo_hs2pref.evaluation import baseline, outcome  # heavy: numpy

    task, out = args.task(args), Path(args.out)  # before the model is loaded: a bad row must not cost minutes
    refuse_no_folder(out)
    if args.scores is not None:
        baseline.refuse_other_input("--scores", Path(args.scores), task)
    earlier = None if args.baseline is None else baseline.baseline_rewards(task, Path(args.baseline))
    scorer, done = open_scorer(args, out)
    checkpoint = None if args.model is None else identity_of(Path(args.model))  # as it is now: a run may go on
    kept, scores = outcome.score(task, scorer, args.leave_out_long)
    scores = outcome.by_goodness(scores, args.goodness)
    if processes.is_first():
        comparison = None if earlier is None else baseline.against(kept, scores, earlier)
        left_out = len(task.examples) - len(kept.examples)
        whose = {**origin(args), "checkpoint": checkpoint, "left_out_long": left_out}
        found = outcome.Outcome(kept, scores, kept.report(scores), whose, comparison)
        found.write(out)
        done()
        print(found.table())
        if left_out:
            print(f"\n{left_out} of {len(task.examples)} rows left out: longer than the model takes")
        if ignored := task.source.get("ignored_keys"):
            print(f"\nkeys that are not read, with the rows that have them: {named(ignored)}")
        print(f"\n{out / outcome.SUMMARY}")
    return 0


def refuse_no_folder(out: Path) -> None:
    """Where a file stands in the place of the folder, or of one above it."""
    found = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not found.is_dir():
        raise ConfigError(f"--out {out}: {found} is a file; name a folder")


def open_scorer(args: argparse.Namespace, out: Path) -> tuple[Any, Callable[[], None]]:
    """Who scores, and what to call once the scores are written."""
    if args.scores is not None:
        from nemo_hs2pref.evaluation.scores import ScoresFile

        return ScoresFile(args.scores), lambda: None
    from nemo_hs2pref.evaluation.outcome import SCORES
    from nemo_hs2pref.scoring import open_scorer
    from nemo_hs2pref.scoring.journal import partial_of

    partial = partial_of(out / SCORES)
    scorer = open_scorer(args.model, args.tensor_parallel, args.pipeline_parallel, partial, args.max_length)
    if args.goodness is not None:
        require_weighed(scorer.attributes, GOODNESS[args.goodness])
    return scorer, scorer.discard_partial


def origin(args: argparse.Namespace) -> dict[str, Any]:
    """Whose scores these are; whole paths, as a report of them is made from anywhere."""
    paths = {key: getattr(args, key) for key in ("model", "scores", "baseline")}
    return {
        **{key: None if path is None else str(Path(path).resolve()) for key, path in paths.items()},
        "goodness": args.goodness,
    }
