"""The environments of other projects, and models exported for them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from clients_common import CLIENTS, LENGTH, MODELS, SLOTS, TIME_LIMIT_S
from families import CONVERSATIONS, edit_yaml, save_reward_model

from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.cli import main


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run a program of this folder under the newest transformers, or under RewardBench; returns its last line.

    Skips without .venv-clients; with HS2PREF_REQUIRE_CLIENTS set, as `make test-clients` does, that fails.
    """
    if not (CLIENTS / ".setup-stamp").is_file():
        refuse = pytest.fail if os.environ.get("HS2PREF_REQUIRE_CLIENTS") else pytest.skip
        refuse("no .venv-clients; make it with `make client-deps`")

    folder = tmp_path_factory.mktemp("client")  # RewardBench writes where it runs

    def run(program: str, *args: object, under: Path = CLIENTS) -> str:
        python, path = (CLIENTS / "bin" / "python", "") if under == CLIENTS else (sys.executable, str(under))
        offline = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        words = [str(python), str(Path(__file__).parent / program), *map(str, args)]
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=TIME_LIMIT_S, env=os.environ | offline, cwd=folder
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done.stdout.splitlines()[-1]

    return run


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": str(i), "messages": row}) + "\n" for i, row in enumerate(CONVERSATIONS)))
    return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random models with nine slots, of which helpfulness counts, as `hs2pref convert to-hf` writes them."""
    folder = tmp_path_factory.mktemp("exported")
    labels = {"id2label": dict(enumerate(SLOTS)), "label2id": {name: i for i, name in enumerate(SLOTS)}}
    for family, weight in MODELS.items():
        weights = [weight * (name == "helpfulness") for name in SLOTS]
        source = save_reward_model(folder / "source" / family, family, hs2pref={"reward_weights": weights}, **labels)
        convert_from_hf(source, folder / "nemo" / family)
        edit_yaml(folder / "nemo" / family, encoder_seq_length=LENGTH)
        assert main(["convert", "to-hf", str(folder / "nemo" / family), str(folder / family)]) == 0
    return {family: folder / family for family in MODELS}
