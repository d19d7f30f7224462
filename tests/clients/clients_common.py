"""Where the clients are, and what is exported for them."""

import json
from pathlib import Path

from nemo_hs2pref.cli import main

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".venv-clients"
REWARDBENCH = CLIENTS / "rewardbench"
TIME_LIMIT_S = 300
LENGTH = 2048  # tokens of the longest row of training
SLOTS = ["quality", "toxicity", "humor", "creativity"]  # Aligner's first four
SLOTS += ["helpfulness", "correctness", "coherence", "complexity", "verbosity"]
MODELS = {"llama2": 1.0, "llama31": 1.0, "llama32": -2.0}  # family: weight of helpfulness in the reward


def scores(model: Path, rows: Path, out: Path) -> dict[str, float]:
    """id: reward, as `hs2pref score` writes them."""
    assert main(["score", "--model", str(model), "--input", str(rows), "--output", str(out)]) == 0
    lines = map(json.loads, out.read_text().splitlines())
    return {line["id"]: line["reward"] for line in lines}
