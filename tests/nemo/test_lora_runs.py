"""LoRA on NeMo's adapters: what is trained, the same in every layout, resumed exactly, merged into the same rewards.

One launch a layout and four of the command line, on llama_tiny in float32.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from nemo_hs2pref.checkpoint.merging.lora import merge_lora
from nemo_hs2pref.checkpoint.opening import read_manifest
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors

WORKER = Path(__file__).parent / "lora_worker.py"
RECOMPUTATION = [
    f"model.activations_checkpoint_{key}" for key in ("granularity=full", "method=uniform", "num_layers=1")
]
LAYOUTS = {
    "tensor parallel": ["parallel=tp2"],
    "tensor and sequence parallel": ["parallel=tp2_sp"],
    "pipeline parallel": ["parallel=pp2"],
    "data parallel, with recomputation": ["parallel=dp2", *RECOMPUTATION],
}
STEPS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lora")


@pytest.fixture(scope="module")
def train(folder: Path, llama_tiny: Path, sample: Path, launch: Callable[..., str]) -> Callable[[str, int], Path]:
    """Run `train rm peft=lora` with dropout up to a step; returns the run's folder."""

    def run(name: str, steps: int) -> Path:
        launch(
            *("-m", "nemo_hs2pref.cli", "train", "rm", "model=llama_tiny", "peft=lora", "loss=scaled_bt"),
            *("model.peft.lora_tuning.adapter_dim=16", "model.peft.lora_tuning.alpha=24"),
            *("model.peft.lora_tuning.adapter_dropout=0.1", "model.optim.lr=1e-3", "model.global_batch_size=4"),
            *("model.encoder_seq_length=1000", "trainer.rm.limit_val_batches=1", f"data.dir={sample}"),
            *(f"pretrained_checkpoint.restore_from_path={llama_tiny}", f"exp_manager.explicit_log_dir={folder / name}"),
            f"trainer.rm.max_steps={steps}",
        )
        return folder / name

    return run


@pytest.fixture(scope="module")
def run(train: Callable[[str, int], Path]) -> Path:
    return train("straight", STEPS)


@pytest.fixture(scope="module")
def outcome_of(
    run: Path, folder: Path, llama_tiny: Path, sample: Path, launch: Callable[..., str]
) -> Callable[[str], dict[str, Any]]:
    """Layout name -> what the worker writes, which also loads the run's adapters."""
    done: dict[str, dict[str, Any]] = {}

    def outcome(name: str) -> dict[str, Any]:
        if name not in done:
            out = folder / f"{name.replace(' ', '_').replace(',', '')}.json"
            overrides = LAYOUTS.get(name, ["parallel=single"])
            adapters = run / "checkpoints" / "last"
            launch(WORKER, llama_tiny, sample, adapters, out, *overrides, processes=1 + (name in LAYOUTS))
            done[name] = json.loads(out.read_text())
        return done[name]

    return outcome


def is_trained(name: str) -> bool:
    return ".adapter_layer." in name or "rm_head." in name


def test_adapters_and_head_change_and_the_rest_stays_bitwise(outcome_of: Callable[[str], dict[str, Any]]) -> None:
    one = outcome_of("one process")
    assert len(one["changed"]) == 4 * 4 * 2 + 1 and all(map(is_trained, one["changed"]))
    assert one["unchanged"] and not any(map(is_trained, one["unchanged"]))


def test_checkpoint_and_optimizer_hold_adapters_and_head_only(
    run: Path, llama_tiny: Path, outcome_of: Callable[[str], dict[str, Any]]
) -> None:
    stored = StoredTensors(run / "checkpoints" / "last" / "model_weights").entries
    assert all(map(is_trained, stored))
    numbers = sum(Tensor(*shape).numel() for shape, _ in stored.values())
    assert numbers == 4 * 16 * (256 + 512 + 256 + 256 + 256 + 1024 + 512 + 256) + 9 * 256
    assert outcome_of("one process")["in_optimizer"] == numbers
    assert read_manifest(run / "checkpoints" / "last")["base"]["path"] == str(llama_tiny)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_equals_one_process(layout: str, outcome_of: Callable[[str], dict[str, Any]]) -> None:
    one, other = outcome_of("one process"), outcome_of(layout)
    assert other["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert len(set(one["losses"])) == len(one["losses"])
    difference = Tensor(sorted(other["rewards"])) - Tensor(sorted(one["rewards"]))
    assert difference.abs().max() < 1e-5


def test_a_resumed_run_is_bitwise_the_same_with_dropout(run: Path, train: Callable[[str, int], Path]) -> None:
    train("resumed", STEPS // 2)
    resumed = train("resumed", STEPS)

    def losses(folder: Path) -> list[float]:
        rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [row["loss"] for row in rows if row["kind"] == "train"]

    assert len(losses(run)) == STEPS
    assert losses(resumed) == losses(run)


def test_a_merged_checkpoint_gives_the_rewards_of_the_model_with_adapters(
    run: Path, folder: Path, sample: Path, outcome_of: Callable[[str], dict[str, Any]], launch: Callable[..., str]
) -> None:
    assert merge_lora(run / "checkpoints" / "last", folder / "merged") == 4
    launch(
        *("-m", "nemo_hs2pref.cli", "score", "--model", folder / "merged"),
        *("--input", sample / "pairs.train.jsonl", "--output", folder / "scores.jsonl"),
    )
    rows = map(json.loads, (folder / "scores.jsonl").read_text().splitlines())
    merged = Tensor([list(row["attributes"].values()) for row in rows])
    adapters = Tensor(outcome_of("one process")["rewards"])
    assert len(adapters) == 32 and adapters.std(dim=0).max() > 0.01
    nearest = (adapters[:, None] - merged[None]).abs().amax(dim=2).amin(dim=1)  # the 16 shortest pairs among all
    assert nearest.max() < 1e-5
