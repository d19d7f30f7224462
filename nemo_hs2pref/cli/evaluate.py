"""`hs2pref evaluate preferences`: accuracy of a reward model, or of a file of scores, on preference pairs."""

import argparse
from pathlib import Path

from nemo_hs2pref.cli import processes
from nemo_hs2pref.data.records import read_pairs, write_json

EXAMPLES = """examples:
  hs2pref evaluate preferences --model runs/stage2/checkpoints/last --input pairs.validation.jsonl --out results
  hs2pref evaluate preferences --scores scores.jsonl --input pairs.validation.jsonl --out results
"""


def configure(parser: argparse.ArgumentParser) -> None:
    benchmarks = parser.add_subparsers(dest="benchmark", metavar="BENCHMARK", required=True)
    summary = "accuracy on pairs, with an interval and the accuracy of length alone; writes OUT/summary.json"
    verb = benchmarks.add_parser(
        "preferences", help=summary, description=summary, epilog=EXAMPLES, formatter_class=parser.formatter_class
    )
    verb.add_argument("--input", required=True, metavar="PAIRS", help="pairs.jsonl; without strengths is fine")
    verb.add_argument(
        "--out", required=True, metavar="DIR", help="folder for summary.json, and scores.jsonl of a model"
    )
    source = verb.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="CKPT", help="reward model checkpoint that scores the pairs now")
    source.add_argument("--scores", help='scores.jsonl with the ids "<id>:chosen" and "<id>:rejected"')
    verb.set_defaults(run=run)
    parser.epilog = EXAMPLES


@processes.as_rank
def run(args: argparse.Namespace) -> int:
    from nemo_hs2pref.evaluation.preferences import evaluate_pairs
    from nemo_hs2pref.evaluation.scores import read_scores, write_scores

    pairs, out = read_pairs(args.input, require_strength=False), Path(args.out)
    if args.model:
        from nemo_hs2pref.runtime.scoring import score_rows

        rows = score_rows(args.model, [side for pair in pairs for side in pair.conversations()])
        report = evaluate_pairs(pairs, {row["id"]: row["reward"] for row in rows})
        write_scores(out / "scores.jsonl", rows)
    else:
        report = evaluate_pairs(pairs, read_scores(args.scores))
    write_json(out / "summary.json", {**report.to_json(), "input": args.input, "scores": args.scores or args.model})
    print(report.table())
    return 0
