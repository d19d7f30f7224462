"""Scoring here against the plain way with transformers: same rows, same model, same machine.

usage: python benchmarks/score_rows.py ROWS MODEL [--pairs 200] [--batch-size 8] [--repeat 3] [--threads 2]

ROWS holds tulu1-human-eval/annotations.jsonl (see real_rows.py; not part of this project), whose first pairs are scored
on both sides; a pair that several people judged is there several times. MODEL is what `hs2pref convert to-hf` wrote of
a reward model. Both ways have the weights in memory before the clock starts, and tokenise while it runs:

    plain   rows in the order of the file, --batch-size at a time, padded to the longest of the batch
    ours    runtime.scoring, as `hs2pref score` runs it
    once    ours with every row made different, so that none is left out: what equal rows save is in `ours` alone

The rewards must agree, or the command fails.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from real_rows import tulu
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from nemo_hs2pref.data.records import Conversation, Message
from nemo_hs2pref.evaluation.scores import Score
from nemo_hs2pref.scoring import open_scorer

TOLERANCE = 1e-4  # float32, summed in another order


class Seconds(NamedTuple):
    """What one way took, once."""

    wall: float
    cpu: float


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    pairs = list(islice(tulu(args.rows), args.pairs))
    rows = [side for pair in pairs for side in pair.conversations()]
    scorer, plain = open_scorer(args.model), plain_scorer(args.model, args.batch_size)
    for score in (scorer.score, plain):
        score(rows[:1])  # reads the weights
    different = [numbered(row, n) for n, row in enumerate(rows)]
    refuse_other_rewards(plain(rows), scorer.score(rows))
    ways = {"plain": lambda: plain(rows), "ours": lambda: scorer.score(rows), "once": lambda: scorer.score(different)}
    measured: dict[str, list[Seconds]] = {name: [] for name in ways}
    for _ in range(args.repeat):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way()
            measured[name].append(Seconds(time.perf_counter() - wall, time.process_time() - cpu))
    print(table(measured, rows))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def plain_scorer(folder: Path, batch_size: int) -> Callable[[Sequence[Conversation]], list[float]]:
    """As a model card shows it."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    weights = torch.tensor(model.config.hs2pref["reward_weights"])

    @torch.no_grad()
    def score(rows: Sequence[Conversation]) -> list[float]:
        rewards: list[float] = []
        for start in range(0, len(rows), batch_size):
            messages = [[m.to_json() for m in row.messages] for row in rows[start : start + batch_size]]
            batch = tokenizer.apply_chat_template(messages, padding=True, return_dict=True, return_tensors="pt")
            rewards += (model(**batch).logits @ weights).tolist()
        return rewards

    return score


def numbered(row: Conversation, number: int) -> Conversation:
    """The row with another prompt, one word longer."""
    first, *rest = row.messages
    return replace(row, messages=(Message(first.role, f"{number} {first.content}"), *rest))


def refuse_other_rewards(plain: Sequence[float], ours: Sequence[Score]) -> None:
    difference = max(abs(a - b.reward) for a, b in zip(plain, ours, strict=True))
    if difference > TOLERANCE:
        raise SystemExit(f"the rewards differ by up to {difference:.2g}, so the times are not compared")


def table(measured: dict[str, list[Seconds]], rows: Sequence[Conversation]) -> str:
    """Medians, with the slowest and the fastest; CPU seconds do not count what else the machine does."""
    base_wall, base_cpu = (median(column) for column in zip(*measured["plain"], strict=True))
    lines = [f"{len(rows)} rows, {len({row.messages for row in rows})} of them different", ""]
    lines += ["| | rows/s | ratio | CPU s | ratio |", "|---|---|---|---|---|"]
    for name, runs in measured.items():
        walls, cpus = zip(*runs, strict=True)
        rate = f"{len(rows) / median(walls):.2f} [{len(rows) / max(walls):.2f} to {len(rows) / min(walls):.2f}]"
        wall, cpu = median(walls), median(cpus)
        lines.append(f"| {name} | {rate} | {base_wall / wall:.2f} | {cpu:.1f} | {base_cpu / cpu:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
