"""What stock NeMo-Aligner 0.7.0 trained and saved gives the same rewards here, from its archive and from its folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nemo2_files import write_context

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.data.records import ATTRIBUTES

WORKER = Path(__file__).parent / "aligner_worker.py"
ROWS = 12


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, llama_tiny: Path, sample: Path, launch: Callable[..., str]) -> Path:
    """One launch for everything."""
    out = tmp_path_factory.mktemp("aligner")
    lines = (sample / "ratings.train.jsonl").read_text().splitlines(keepends=True)
    (out / "rows.jsonl").write_text("".join(lines[:ROWS]))
    write_context(out / "nemo2", opening.read_config(llama_tiny), llama_tiny / layout.TOKENIZER)
    launch(WORKER, llama_tiny, out / "rows.jsonl", out)
    return out


def outputs(rows: list[dict[str, Any]]) -> list[list[float]]:
    return [list(row["attributes"].values()) for row in rows]


@pytest.mark.parametrize("name", ["regression", "regression.nemo"])
def test_a_regression_model_of_aligner_has_the_same_outputs(name: str, out: Path) -> None:
    """Beyond position 256 / 8 RoPE scaling would change them: Aligner's class drops it, so the reader must."""
    result = json.loads((out / "regression.json").read_text())
    for row, ours, stock in zip(result[name], outputs(result[name]), result["stock"], strict=True):
        assert ours == pytest.approx(stock, abs=1e-5)
        assert row["reward"] == row["attributes"]["helpfulness"] == pytest.approx(stock[4], abs=1e-5)
    assert list(result[name][0]["attributes"]) == list(ATTRIBUTES)


@pytest.mark.parametrize("name", ["binary_ranking", "binary_ranking.nemo"])
def test_a_bradley_terry_model_of_aligner_has_the_same_rewards(name: str, out: Path) -> None:
    """Its bfloat16 head rounds input and output, each by up to 2^-9 of its value; ours computes in float32."""
    result = json.loads((out / "binary_ranking.json").read_text())
    rewards = [row["reward"] for row in result[name]]
    assert rewards == pytest.approx([row[0] for row in result["stock"]], abs=0.02)
    assert max(rewards) - min(rewards) > 0.5  # or the tolerance would prove little


def test_the_models_were_trained(out: Path) -> None:
    losses = json.loads((out / "regression.json").read_text())["losses"]
    assert losses[-1] < losses[0] / 2
    assert layout.read_yaml(out / "regression" / layout.CONFIG)["target"].endswith("RegressionRewardModel")


def test_weights_under_the_names_of_nemo_2_are_the_same(out: Path) -> None:
    differences = json.loads((out / "nemo2.json").read_text())
    assert len(differences) > 4 * 6 and set(differences.values()) == {0.0}
