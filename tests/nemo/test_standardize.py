"""Standardization on a real model with three attributes, whose weighted sum is the reward."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_dist_files import read_tensors, write_tensors

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.standardization import stored

WORKER = Path(__file__).parent / "standardize_worker.py"
HEAD = {"bias": False, "template": "extra_id"}
# the HelpSteer2 paper's goodness
GOODNESS = {"helpfulness": 0.65, "correctness": 0.8, "coherence": 0.45}


@pytest.fixture(scope="module")
def reward_model(llama_tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """llama_tiny with a random head, as others would write it: without our manifest."""
    folder = tmp_path_factory.mktemp("standardize") / "rm"
    config = opening.read_config(llama_tiny)
    config["head"] = HEAD | {"attributes": list(GOODNESS), "reward_weights": list(GOODNESS.values())}
    weights = read_tensors(llama_tiny / layout.WEIGHTS)
    head = torch.randn(len(GOODNESS), config["hidden_size"], generator=torch.Generator().manual_seed(0))
    folder.mkdir()
    layout.write_small_files(folder, config, {}, llama_tiny / layout.TOKENIZER)
    (folder / layout.MANIFEST).unlink()
    write_tensors(weights | {"model.rm_head.weight": head}, folder / layout.WEIGHTS, config["num_layers"])
    return folder


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_measured_rows_get_mean_0_and_std_1_and_keep_their_ranks(
    reward_model: Path, sample: Path, tmp_path: Path, launch: Callable[..., str]
) -> None:
    ratings = tmp_path / "ratings.jsonl"
    ratings.write_text("".join((sample / "ratings.validation.jsonl").read_text().splitlines(keepends=True)[:32]))
    output = launch(WORKER, reward_model, ratings, tmp_path)
    raw, after = read(tmp_path / "raw.jsonl"), read(tmp_path / "standardized.jsonl")
    assert [row["id"] for row in after] == [row["id"] for row in raw] == [row["id"] for row in read(ratings)]

    columns: list[Callable[[dict[str, Any]], float]] = [lambda row: row["reward"]]
    columns += [lambda row, name=name: row["attributes"][name] for name in GOODNESS]
    for column in columns:
        before, x = ([column(row) for row in rows] for rows in (raw, after))
        assert np.mean(x) == pytest.approx(0, abs=1e-6) and np.std(x) == pytest.approx(1, abs=1e-6)
        assert np.argsort(x, kind="stable").tolist() == np.argsort(before, kind="stable").tolist()
        assert np.std(before) != pytest.approx(1, abs=0.01)  # or the check above would prove little

    rewards = [row["reward"] for row in raw]
    figures = stored(reward_model)["reward"]
    assert figures == {"mean": pytest.approx(np.mean(rewards)), "std": pytest.approx(np.std(rewards))}
    assert f"reward mean {figures['mean']:.6g}, std {figures['std']:.6g} over {len(raw)} responses, stored" in output
