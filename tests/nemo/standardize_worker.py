"""Three commands in one launch, around one model: score, standardize, score --standardize, of the same rows.

usage: standardize_worker.py CHECKPOINT ROWS OUT     writes OUT/raw.jsonl and OUT/standardized.jsonl
"""

import sys
from pathlib import Path


def main(checkpoint: str, rows: str, out: Path) -> None:
    from nemo_hs2pref import cli

    files = ["--model", checkpoint, "--input", rows]
    assert cli.main(["score", *files, "--output", str(out / "raw.jsonl")]) == 0
    assert cli.main(["standardize", *files]) == 0
    assert cli.main(["score", "--standardize", *files, "--output", str(out / "standardized.jsonl")]) == 0


if __name__ == "__main__":
    main(*sys.argv[1:3], Path(sys.argv[3]))
