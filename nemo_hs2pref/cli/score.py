"""`hs2pref score`: the reward of every row of a file."""

import argparse
from pathlib import Path

from nemo_hs2pref.cli import processes
from nemo_hs2pref.data.records import Conversation, read_jsonl, read_pairs, read_rows
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.scores import write_scores

EXAMPLES = """examples:
  hs2pref score --model runs/stage2/checkpoints/last --input rows.jsonl --output scores.jsonl
  hs2pref score --model runs/stage2/checkpoints/last --input pairs.validation.jsonl --output scores.jsonl
  hs2pref score --model reward-hf --input rows.jsonl --output scores.jsonl          # transformers, without NeMo
  hs2pref score --model reward-hf --data-parallel 8 --input rows.jsonl --output scores.jsonl         # 8 processes
  hs2pref score --model runs/expo --tensor-parallel 8 --input rows.jsonl --output scores.jsonl       # 8 processes
  hs2pref score --standardize --model runs/stage2/checkpoints/last --input rows.jsonl --output scores.jsonl

input rows   {"id", "messages": [{"role", "content"}, ...]}   gives {"id", "reward", "attributes"}
input pairs  {"id", "prompt", "chosen", "rejected"}           gives two rows, "<id>:chosen" and "<id>:rejected"

After a kill the same command goes on where it was: OUTPUT.partial keeps what is scored.
"""

MODEL = "reward model: a checkpoint of NeMo's, or a Hugging Face folder"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="CKPT", help=MODEL)
    parser.add_argument("--input", required=True, help="rows.jsonl or pairs.jsonl, plain or .gz")
    parser.add_argument("--output", required=True, help="scores.jsonl to write, in the order of the input")
    parser.add_argument(
        "--standardize",
        action="store_true",
        help="write (x - mean) / std of the reward and each attribute, with the figures that `standardize` stored",
    )
    add_max_length(parser)
    processes.add_layout(parser)
    parser.set_defaults(run=run)
    parser.epilog = EXAMPLES


@processes.as_rank
def run(args: argparse.Namespace) -> int:
    from nemo_hs2pref.checkpoint.standardization import stored  # heavy: omegaconf and numpy
    from nemo_hs2pref.evaluation.standardization import standardized

    figures = stored(Path(args.model)) if args.standardize else None
    if processes.are_missing(args):
        return processes.start_layout(args)
    conversations = read_conversations(args.input)  # before the model is loaded: a bad row must not cost minutes

    from nemo_hs2pref.runtime.scoring import open_scorer
    from nemo_hs2pref.runtime.scoring.journal import partial_of

    scorer = open_scorer(
        args.model, args.tensor_parallel, args.pipeline_parallel, partial_of(args.output), args.max_length
    )
    scores = scorer.score(conversations)
    if figures is not None:
        scores = [standardized(score, figures) for score in scores]
    if processes.is_first():
        write_scores(args.output, scores)
        scorer.discard_partial()
        print(f"{args.output}: {len(scores)} rewards")
    return 0


def add_max_length(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-length", type=processes.count, metavar="TOKENS", help="longest row (default: as in training)"
    )


def read_conversations(path: str) -> list[Conversation]:
    """The rows of a rows file, or both sides of every pair of a pairs file; the first row tells which it is."""
    first = next(read_jsonl(path), None)
    if first is None:
        raise DataError(f"{path}: has no rows; expected rows.jsonl or pairs.jsonl")
    if "messages" in first[1]:
        return read_rows(path)
    return [side for pair in read_pairs(path, require_strength=False) for side in pair.conversations()]
