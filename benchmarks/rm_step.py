"""The reward-model step here against stock NeMo-Aligner's: same rows, same weights, same optimizer, same machine.

usage: python benchmarks/rm_step.py ROWS BASE [--sides stock stock_sdpa ours] [--steps 2] [--repeat 1]
                                    [--seq-length 2048] [--threads 2] [--profile] [--json FILE]

ROWS holds helpsteer2-samples/hs2.jsonl (HelpSteer2, CC-BY-4.0, not part of this project; see real_rows.py), BASE is a
checkpoint of `hs2pref convert from-hf smollm2 BASE --layers 4`. Regression on helpfulness, float32, 8 rows an optimizer
step, micro batches of 2; one warm-up step, then --steps measured ones. Every side is a process of its own:

    stock        Aligner 0.7.0's data set, model and trainer, rows padded to --seq-length, Megatron-Core's attention
    stock_sdpa   the same with the attention that ours has without Transformer Engine: what is left is padding
    ours         runtime.run.train, as `hs2pref train rm` runs it
    ours_profile ours with its last step under torch.profiler (--profile adds it): where the time goes

The losses must agree between the sides, or the command fails: speed is not bought with another result.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from real_rows import rated

from nemo_hs2pref.data.records import ATTRIBUTES, RatedResponse, write_jsonl
from nemo_hs2pref.data.templates import render

SIDES = ("stock", "stock_sdpa", "ours")
ROWS_A_STEP = 8
LOSS_TOLERANCE = 1e-5  # relative; float32 sums in another order, carried through the updates
GIB = 2**30
HEADER = (
    "| | s/step | real tokens/s | ratio to {} | positions a step | peak RSS, GiB | before step 1 | "
    "CPU s a step: user, system | cores busy with other work |"
)


def main() -> None:
    args = parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(args.rows, folder, ROWS_A_STEP * (1 + args.steps))
        runs: dict[str, list[dict[str, Any]]] = {side: [] for side in args.sides}
        for _ in range(args.repeat):
            for side in args.sides:
                runs[side].append(run_side(side, folder, args))
                print(side, one_line(runs[side][-1]), file=sys.stderr, flush=True)
        profiled = run_side("ours_profile", folder, args) if args.profile else None
    print(table(runs))
    print(compare_losses(runs))
    if profiled:
        print(profiled["profile"])
    if args.json:
        args.json.write_text(json.dumps(runs, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--steps", type=int, default=2, help="measured optimizer steps, after one warm-up step")
    parser.add_argument("--repeat", type=int, default=1, help="processes a side, in turn")
    parser.add_argument("--seq-length", type=int, default=2048, help="tokens; Aligner pads to it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="one more process of ours, under torch.profiler")
    parser.add_argument("--json", type=Path, help="write every run's figures there")
    return parser.parse_args()


def write_rows(rows: Path, folder: Path, number: int) -> None:
    """The first rows in both projects' formats."""
    chosen = [row for row, _ in zip(rated(rows), range(number), strict=False)]
    if len(chosen) < number:
        raise SystemExit(f"{rows}: has {len(chosen)} rows, {number} are needed; use fewer --steps")
    for split in ("train", "validation"):
        write_jsonl(folder / f"ratings.{split}.jsonl", [row.to_json() for row in chosen])
    write_jsonl(folder / "aligner.jsonl", [aligner_row(row) for row in chosen])


def aligner_row(row: RatedResponse) -> dict[str, Any]:
    """Aligner's regression format; -100 masks a slot."""
    return {"text": render(row.messages), "label": [row.attributes.get(name, -100) for name in ATTRIBUTES]}


def run_side(side: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One process; its figures, as rm_step_sides.py writes them."""
    result = folder / "result.json"
    worker = Path(__file__).with_name("rm_step_sides.py")
    words = [side, folder, args.base, result, args.steps, args.seq_length, args.threads]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(
        [sys.executable, worker, *map(str, words)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stdout.decode()[-4000:]}")
    return json.loads(result.read_text())


def one_line(run: dict[str, Any]) -> str:
    steps = " ".join(f"{step['seconds']:.2f}" for step in run["steps"])
    return f"steps {steps} s (the first is warm-up), peak {run['peak_rss'] / GIB:.2f} GiB"


def measured(run: dict[str, Any]) -> list[dict[str, float]]:
    return run["steps"][1:]


def tokens_per_s(run: dict[str, Any]) -> float:
    """Tokens of the rows themselves, padding not counted."""
    return sum(step["tokens"] for step in measured(run)) / sum(step["seconds"] for step in measured(run))


def table(runs: dict[str, list[dict[str, Any]]]) -> str:
    """Medians over runs, with the range where there is more than one."""
    first = next(iter(runs))
    reference = median(map(tokens_per_s, runs[first]))
    lines = [HEADER.format(first), "|---" * HEADER.count(" | ") + "|---|"]
    for side, repeats in runs.items():
        steps = [step for run in repeats for step in measured(run)]
        speeds = [*map(tokens_per_s, repeats)]
        cells = [
            spread([step["seconds"] for step in steps], ".2f"),
            spread(speeds, ".0f"),
            f"{median(speeds) / reference:.1f}",
            ", ".join(str(step["positions"]) for step in measured(repeats[0])),
            spread([run["peak_rss"] / GIB for run in repeats], ".2f"),
            f"{median(run['rss_before'] / GIB for run in repeats):.2f}",
            ", ".join(f"{median(step[key] for step in steps):.1f}" for key in ("user_s", "system_s")),
            f"{median(step['other_cores'] for step in steps):.2f}",
        ]
        lines.append(f"| {side} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float], form: str) -> str:
    middle = f"{median(values):{form}}"
    return middle if len(values) == 1 else f"{middle} [{min(values):{form}} to {max(values):{form}}]"


def compare_losses(runs: dict[str, list[dict[str, Any]]]) -> str:
    """One line a side; stops where losses or token counts differ."""
    first, *_ = (run for repeats in runs.values() for run in repeats)
    for side, repeats in runs.items():
        for run in repeats:
            for number, (got, wanted) in enumerate(zip(run["steps"], first["steps"], strict=True), 1):
                where = f"step {number}: {side} and {next(iter(runs))}"
                if got["tokens"] != wanted["tokens"]:
                    raise SystemExit(f"{where} trained on other rows: {got['tokens']} and {wanted['tokens']} tokens")
                if abs(got["loss"] - wanted["loss"]) > LOSS_TOLERANCE * wanted["loss"]:
                    raise SystemExit(f"{where} have other losses: {got['loss']:.7f} and {wanted['loss']:.7f}")
    losses = {side: " ".join(f"{step['loss']:.6f}" for step in repeats[0]["steps"]) for side, repeats in runs.items()}
    return "\n".join(f"losses of {side:10} {text}" for side, text in losses.items())


if __name__ == "__main__":
    main()
