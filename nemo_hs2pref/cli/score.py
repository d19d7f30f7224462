"""`hs2pref score`: the reward of every row of a file."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from nemo_hs2pref.cli import processes
from nemo_hs2pref.data.collecting import Account
from nemo_hs2pref.data.faults import BadRows, RefusedRows, describe
from nemo_hs2pref.data.forms.conversations import CONVERSATION_KEYS
from nemo_hs2pref.data.forms.pairs import is_pair
from nemo_hs2pref.data.reading.row_files import rows_of
from nemo_hs2pref.data.records import Conversation, PreferencePair, read_pairs, read_rows
from nemo_hs2pref.data.unread import named
from nemo_hs2pref.errors import DataError
from nemo_hs2pref.evaluation.scores import Example, Score, Scorer, write_scores

EXAMPLES = """examples:
  hs2pref score --model runs/stage2/checkpoints/last --input rows.jsonl --output scores.jsonl
  hs2pref score --model runs/stage2/checkpoints/last --input pairs.validation.jsonl --output scores.jsonl
  hs2pref score --model reward-hf --input rows.jsonl --output scores.jsonl          # transformers, without NeMo
  hs2pref score --model reward-hf --data-parallel 8 --input rows.jsonl --output scores.jsonl         # 8 processes
  hs2pref score --model runs/expo --tensor-parallel 8 --input rows.jsonl --output scores.jsonl       # 8 processes
  hs2pref score --standardize --model runs/stage2/checkpoints/last --input rows.jsonl --output scores.jsonl

input rows   {"id", "messages": [{"role", "content"}, ...]}   gives {"id", "reward", "attributes"}
input pairs  {"id", "prompt", "chosen", "rejected"}           gives two rows, "<id>:chosen" and "<id>:rejected"
             either also with "system"; other forms that are read are in docs/data.md

After a kill the same command goes on where it was: OUTPUT.partial keeps what is scored.
"""

FIRST_ROWS = 20  # tell rows from pairs
MODEL = "reward model: a checkpoint of NeMo's, or a Hugging Face folder"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="CKPT", help=MODEL)
    parser.add_argument("--input", required=True, help="rows.jsonl or pairs.jsonl, plain or gzipped")
    parser.add_argument("--output", required=True, help="scores.jsonl to write, in the order of the input")
    parser.add_argument(
        "--standardize",
        action="store_true",
        help="write (x - mean) / std of the reward and each attribute, with the figures that `standardize` stored",
    )
    parser.add_argument(
        "--on-bad-row",
        choices=["stop", "skip"],
        default="stop",
        help="rows that cannot be scored (malformed, refused by the template, too long): report all and stop, or leave "
        "them out of OUTPUT and say which they are",
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
    account = Account(BadRows(skip=args.on_bad_row == "skip"), may_skip=True)
    records = read_records(args.input, account)  # before the model is loaded: a bad row must not cost minutes

    from nemo_hs2pref.scoring import open_scorer
    from nemo_hs2pref.scoring.journal import partial_of

    scorer = open_scorer(
        args.model, args.tensor_parallel, args.pipeline_parallel, partial_of(args.output), args.max_length
    )
    scores = score_usable(scorer, records, account.bad_rows)
    if figures is not None:
        scores = [standardized(score, figures) for score in scores]
    if processes.is_first():
        write_scores(args.output, scores)
        scorer.discard_partial()
        print("\n".join([f"{args.output}: {len(scores)} rewards", *left_out(account)]))
    return 0


def score_usable(scorer: Scorer, records: Sequence[Example], bad_rows: BadRows) -> list[Score]:
    """The scores of all conversations; with `bad_rows.skip` without the records of which the model cannot take one."""
    while records:
        try:
            return scorer.score([side for record in records for side in record.conversations()])
        except RefusedRows as fault:
            if not bad_rows.skip:
                raise
            refused = fault.reasons
        for record in records:
            reasons = {side.id: refused[side.id] for side in record.conversations() if side.id in refused}
            if reasons:
                bad_rows.add(*next(iter(reasons.items())))
        records = [each for each in records if not any(side.id in refused for side in each.conversations())]
    raise DataError(describe(bad_rows.shown, bad_rows.count))


def left_out(account: Account) -> Iterator[str]:
    """What is to be said of the rows that were read."""
    bad = account.bad_rows
    if bad.count:
        yield f"  skipped rows (--on-bad-row skip): {bad.count:,}"
        yield from (f"    {where}: {fault}" for where, fault in bad.shown)
        yield from [f"    and {bad.count - len(bad.shown):,} more"] if bad.count > len(bad.shown) else []
    if account.ignored:
        yield f"  keys that are not read, with the rows that have them: {named(account.ignored)}"


def add_max_length(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-length", type=processes.count, metavar="TOKENS", help="longest row (default: as in training)"
    )


def read_records(path: str, account: Account) -> list[Conversation] | list[PreferencePair]:
    """The rows of a rows file, or the pairs of a pairs file; its first row that is an object tells which it is."""
    found = [row for _, row in islice(rows_of(path), FIRST_ROWS)]
    first = next((row for row in found if isinstance(row, dict)), None)
    if not found:
        raise DataError(f"{path}: has no rows; expected rows.jsonl or pairs.jsonl")
    if first is None or is_pair(first):
        return read_pairs(path, require_strength=False, account=account)
    if not any(key in first for key in CONVERSATION_KEYS):
        raise DataError(
            f"{path}: rows with the keys {', '.join(first) or 'none'} are neither conversations (messages) nor pairs "
            "(prompt, chosen, rejected)"
        )
    return read_rows(path, account)
