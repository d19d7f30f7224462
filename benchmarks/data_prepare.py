"""Time and memory of `hs2pref data prepare` as the input grows: does memory stay flat?

usage: python benchmarks/data_prepare.py [--rows 10000 100000 1000000] [--folder DIR]

The rows are generated: rated responses in the form of HelpSteer2's train.jsonl and comparisons in that of
preference.jsonl, half of each, 1,500 characters a response as in the paper's mean. Each size is a process of its own.
"""

import argparse
import json
import os
import random
import shutil
import string
import sys
import tempfile
import time
from pathlib import Path

from nemo_hs2pref.data.records import HELPSTEER_ATTRIBUTES

RESPONSE_CHARACTERS, PROMPT_CHARACTERS = 1500, 700


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where the files go; 8 GB for a million rows")
    args = parser.parse_args()
    print(f"{'rows':>9} {'input GB':>9} {'seconds':>8} {'rows/s':>8} {'peak MB':>8}")
    for rows in args.rows:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            source = Path(folder) / "source"
            write(source, rows)
            size = sum(path.stat().st_size for path in source.rglob("*.jsonl"))
            seconds, peak = run(source, Path(folder) / "out")
            print(
                f"{rows:>9,} {size / 1e9:>9.2f} {seconds:>8.1f} {rows / seconds:>8,.0f} {peak / 1e6:>8.0f}", flush=True
            )
            shutil.rmtree(source)


def write(source: Path, rows: int) -> None:
    """`rows` / 2 comparisons, and the rated responses of the first half of these."""
    rng = random.Random(0)
    letters = "".join(rng.choices(string.ascii_lowercase + "     ", k=1_000_000))

    def text(length: int) -> str:
        start = rng.randrange(len(letters) - length)
        return letters[start : start + length]

    (source / "preference").mkdir(parents=True)
    with (
        open(source / "train.jsonl", "w") as ratings,
        open(source / "validation.jsonl", "w"),
        open(source / "preference" / "preference.jsonl", "w") as preferences,
    ):
        for number in range(rows // 2):
            prompt = f"{number} {text(PROMPT_CHARACTERS)}"
            responses = [text(RESPONSE_CHARACTERS) for _ in range(2)]
            strengths = [rng.choice((-3, -2, -1, 1, 2, 3)) for _ in range(3)]
            row = {"split": "train", "prompt": prompt, "response_1": responses[0], "response_2": responses[1]}
            row |= {"preference_strength": rng.randrange(-3, 4)}
            row |= {"all_preferences_unprocessed": [{"strength": strength} for strength in strengths]}
            preferences.write(json.dumps(row) + "\n")
            if number % 2 == 0:
                for response in responses:
                    rated = {name: rng.randrange(5) for name in HELPSTEER_ATTRIBUTES}
                    ratings.write(json.dumps({"prompt": prompt, "response": response, **rated}) + "\n")


def run(source: Path, out: Path) -> tuple[float, int]:
    """Seconds and bytes at the peak of one preparation."""
    words = [sys.executable, "-m", "nemo_hs2pref.cli", "data", "prepare", "--source", str(source), "--out", str(out)]
    start = time.monotonic()
    child = os.posix_spawn(
        words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    )
    _, status, usage = os.wait4(child, 0)
    assert status == 0, f"the preparation failed with status {status}"
    return time.monotonic() - start, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
