"""`hs2pref standardize`: mean and std of a model's rewards, stored with its checkpoint."""

import argparse
from pathlib import Path

from nemo_hs2pref.cli import processes
from nemo_hs2pref.cli.score import MODEL, add_max_length, left_out, read_records
from nemo_hs2pref.data.collecting import Account
from nemo_hs2pref.errors import DataError

EXAMPLES = """examples:
  hs2pref standardize --model runs/stage2/checkpoints/last --input data/ratings.train.jsonl
  hs2pref score --standardize --model runs/stage2/checkpoints/last --input rows.jsonl --output scores.jsonl

Scores every response of the input and stores the mean and the population standard deviation (divided by n, not
n - 1) of the reward and of each attribute in CKPT/hs2pref.json, of a Hugging Face folder in its config.json; run
again, it replaces them. Checkpoints trained or extrapolated from CKPT have other rewards and do not inherit them.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="CKPT", help=f"{MODEL}; it is changed")
    parser.add_argument(
        "--input", required=True, help="ratings.jsonl, rows.jsonl, or pairs.jsonl (both sides), plain or .gz"
    )
    add_max_length(parser)
    processes.add_layout(parser)
    parser.set_defaults(run=run)
    parser.epilog = EXAMPLES


@processes.as_rank
def run(args: argparse.Namespace) -> int:
    if processes.are_missing(args):
        return processes.start_layout(args)
    account = Account()
    conversations = [side for record in read_records(args.input, account) for side in record.conversations()]
    if len(conversations) < 2:
        raise DataError(f"{args.input}: has 1 response; a standard deviation needs at least 2")

    from nemo_hs2pref.checkpoint.standardization import store
    from nemo_hs2pref.evaluation.standardization import measure
    from nemo_hs2pref.scoring import open_scorer
    from nemo_hs2pref.scoring.journal import partial_of

    partial = partial_of(f"{args.model.rstrip('/')}.{args.verb}")
    scorer = open_scorer(args.model, args.tensor_parallel, args.pipeline_parallel, partial, args.max_length)
    scores = scorer.score(conversations)
    if processes.is_first():
        measured = measure(scores)
        store(Path(args.model), measured, Path(args.input))
        scorer.discard_partial()
        mean, std = measured["reward"]["mean"], measured["reward"]["std"]
        stored = f"{args.model}: reward mean {mean:.6g}, std {std:.6g} over {len(scores)} responses, stored"
        print("\n".join([stored, *left_out(account)]))
    return 0
