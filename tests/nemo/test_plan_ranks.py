"""`hs2pref plan` and the real model agree, rank by rank: places, parameters, states to the byte, activations to 2 %."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nemo_hs2pref.config.architecture import architecture_of
from nemo_hs2pref.launch.plan.activations import stored_activations
from nemo_hs2pref.launch.plan.layout import layout_of
from nemo_hs2pref.launch.plan.parameters import rank_parameters
from nemo_hs2pref.launch.plan.states import gradient_bytes, optimizer_bytes, weight_bytes
from nemo_hs2pref.recipes.rm import load_reward_model_config

WORKER = Path(__file__).parent / "plan_worker.py"
COMMON = ["model=llama_tiny", "loss=scaled_bt", "trainer.devices=4", "model.global_batch_size=8", "data.dir=none",
          "model.encoder_seq_length=100", "exp_manager.explicit_log_dir=none",
          "pretrained_checkpoint.restore_from_path=none"]  # fmt: skip
TP2, PP2 = "model.tensor_model_parallel_size=2", "model.pipeline_model_parallel_size=2"
FULL = ["model.activations_checkpoint_granularity=full", "model.activations_checkpoint_num_layers=1"]
LAYOUTS = {
    "tensor x data, padded": [TP2, "data.packed_sequence=false"],
    "tensor x pipeline": [TP2, PP2, "model.micro_batch_size=2"],
    "tensor, sequence x pipeline, recomputed": [
        *(TP2, PP2, *FULL, "model.sequence_parallel=true", "model.activations_checkpoint_method=uniform"),
    ],
    "tensor, sequence x data, LoRA": [TP2, "model.sequence_parallel=true", "peft=lora"],
    "pipeline x data, bfloat16, head with bias, half recomputed": [
        *(PP2, *FULL, "trainer.precision=bf16", "model.megatron_amp_O2=true", "head.bias=true"),
        "model.activations_checkpoint_method=block",
    ],
    "four stages, selective": ["model.pipeline_model_parallel_size=4", FULL[0].replace("full", "selective")],
}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory, llama_tiny: Path, launch: Callable[..., str]) -> list[Any]:
    """What each of four ranks measured, by layout."""
    out = tmp_path_factory.mktemp("plan")
    base = f"pretrained_checkpoint.restore_from_path={llama_tiny}"
    layouts = {name: [*COMMON, base, *overrides] for name, overrides in LAYOUTS.items()}
    launch(WORKER, llama_tiny, out, json.dumps(layouts), processes=4)
    return [json.loads((out / f"rank{rank}.json").read_text()) for rank in range(4)]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_rank_holds_what_the_plan_says(name: str, ranks: list[Any]) -> None:
    config, _ = load_reward_model_config([*COMMON, *LAYOUTS[name]])
    layout, sizes, precision = layout_of(config), architecture_of(config, {}), config.trainer.precision
    for rank, facts in enumerate(found[name] for found in ranks):
        stage = facts["stage"]
        assert rank == facts["tensor"] + layout.tensor * (facts["data"] + layout.data * stage)
        assert rank in layout.ranks(stage)

        planned = rank_parameters(config, sizes, layout, stage)
        assert facts["parameters"] == [[p.size, p.trained] for p in planned]
        assert facts["weight_bytes"] == weight_bytes(planned, precision, layout.data)
        assert facts["gradient_bytes"] == gradient_bytes(planned, precision, layout.data)
        assert facts["optimizer_bytes"] == optimizer_bytes(planned, precision, layout.data)[facts["data"]]

        # what is left out: token ids, the last tokens of the rows, random states of recomputed blocks
        stored = stored_activations(config, sizes, layout, stage, fused=False)
        assert stored == pytest.approx(facts["activation_bytes"], rel=0.02)
