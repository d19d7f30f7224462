"""`make soak`: the fuzzing at its full size, then runs that are killed at random.

python tests/soak/run.py [--seed S] [--inputs N] [--kills N] [--minutes M]
"""

import argparse
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
DEFAULT_SEED = 20260101


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--inputs", type=int, default=3_600, help="damaged inputs of each reader: 100,000 together")
    parser.add_argument("--kills", type=int, default=10, help="runs of each trainer and layout, killed 1 to 3 times")
    parser.add_argument("--minutes", type=float, default=120.0, help="at most so many, half of them for the fuzzing")
    args = parser.parse_args()
    each = ["--seed", str(args.seed), "--minutes", str(args.minutes / 2)]
    parts = [("fuzz/run.py", args.inputs), ("soak/kills.py", args.kills)]
    codes = [
        subprocess.call([sys.executable, str(TESTS / script), *each, "--number", str(number)])
        for script, number in parts
        if number
    ]
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
