"""Memory of real reward-model steps on a CPU beside what `hs2pref plan` computes for them.

usage: python benchmarks/plan_memory.py [CASE ...]

Each case is a launch of its own on random weights: two optimizer steps on rows as long as they may be. Measured is the
peak of a process's resident memory (getrusage) less what it had before the model was built, the largest of the ranks;
computed is the plan's fullest rank, with torch's kernels. The C library gives large blocks back at once
(MALLOC_MMAP_THRESHOLD_); by default it keeps them, as much again as the activations. Needs 8 GB of memory and some
minutes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

GIB = 2**30
SHAPE = {
    "num_layers": 4,
    "hidden_size": 1024,
    "ffn_hidden_size": 4096,
    "num_attention_heads": 16,
    "num_query_groups": 4,
    "override_vocab_size": 32_000,
}
COMMON = [
    *("model=llama_tiny", "loss=regression", "model.global_batch_size=2", "model.encoder_seq_length=1024"),
    *("data.dir=none", "exp_manager.explicit_log_dir=none", "data.packed_sequence=false"),
    *(f"model.{key}={value}" for key, value in SHAPE.items()),
]
FULL = [
    *("model.activations_checkpoint_granularity=full", "model.activations_checkpoint_method=uniform"),
    "model.activations_checkpoint_num_layers=1",
]
CASES = {  # name -> processes, overrides
    "padded": (1, []),
    "packed, two rows": (1, ["data.packed_sequence=true", "model.micro_batch_size=2"]),
    "recomputed": (1, FULL),
    "LoRA": (1, ["peft=lora"]),
    "bfloat16": (1, ["trainer.precision=bf16", "model.megatron_amp_O2=true"]),
    "TP 2, sequence parallel": (2, ["parallel=tp2_sp"]),
    "PP 2": (2, ["parallel=pp2"]),
    "DP 2": (2, ["parallel=dp2"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all where none is named")
    parser.add_argument("--step", nargs=3, metavar=("BASE", "CASE", "OUT"), help=argparse.SUPPRESS)  # a child's
    args = parser.parse_args()
    if args.step:
        base, case, out = args.step
        run_step(Path(base), overrides_of(case, Path(base)), Path(out))
        return
    with TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        write_base(base)
        print("| run | measured | computed | states | activations | working | error |\n|---|---|---|---|---|---|---|")
        for name in args.cases or CASES:
            print(row(name, base, Path(folder)), flush=True)


def write_base(folder: Path) -> None:
    """What a run reads of a checkpoint besides weights."""
    from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
    from nemo_hs2pref.checkpoint.small_models.tiny import write_llama_tiny

    convert_from_hf(write_llama_tiny(folder.with_name("hf")), folder)


def overrides_of(case: str, base: Path) -> list[str]:
    return [*COMMON, f"pretrained_checkpoint.restore_from_path={base}", *CASES[case][1]]


def row(case: str, base: Path, folder: Path) -> str:
    """One line of the table, in GiB."""
    processes = CASES[case][0]
    words = [__file__, "--step", str(base), case, str(folder)]
    if processes > 1:
        words = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{case}: {done.stderr[-3000:]}")
    measured = max(json.loads((folder / f"rank{rank}.json").read_text())["bytes"] for rank in range(processes))
    computed = computed_of(overrides_of(case, base))
    states = computed.weights + computed.gradients + computed.optimizer
    numbers = (measured, computed.total, states, computed.activations, computed.working)
    cells = " | ".join(f"{number / GIB:.2f}" for number in numbers)
    return f"| {case} | {cells} | {computed.total / measured - 1:+.0%} |"


def computed_of(overrides: list[str]) -> Any:
    from nemo_hs2pref.config.architecture import architecture_of
    from nemo_hs2pref.launch.plan.memory import rank_memory
    from nemo_hs2pref.recipes.rm import load_reward_model_config

    config, _ = load_reward_model_config(overrides)
    architecture, stages = architecture_of(config, {}), range(config.model.pipeline_model_parallel_size)
    return max((rank_memory(config, architecture, s, fused=False) for s in stages), key=lambda memory: memory.total)


def run_step(base: Path, overrides: list[str], out: Path) -> None:
    """A child: two optimizer steps, then its memory into OUT/rank<N>.json."""
    from nemo_hs2pref.checkpoint.opening import read_config
    from nemo_hs2pref.recipes.rm import load_reward_model_config
    from nemo_hs2pref.runtime.platform import machine

    config, _ = load_reward_model_config(overrides)
    machine.prepare()
    import torch
    from megatron.core import parallel_state

    from nemo_hs2pref.algorithms.step import train_step
    from nemo_hs2pref.data.batches.rewards import ResponseItem, RewardBatch, collate
    from nemo_hs2pref.recipes.rm_training import objective_of
    from nemo_hs2pref.runtime.run.build import build_reward_model, make_trainable

    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    model = build_reward_model(config, read_config(base) | SHAPE | {"kv_channels": None}, max_steps=2)
    trainable = make_trainable(model)
    settings = config.model
    micro = [ResponseItem([1] * settings.encoder_seq_length, [1.0] * 9, characters=1)] * settings.micro_batch_size
    count = settings.global_batch_size // len(micro) // parallel_state.get_data_parallel_world_size()
    packed, device = config.data.packed_sequence, machine.device()

    def make_batch() -> list[RewardBatch]:
        return [collate(micro, multiple_of=1, device=device, packed=packed) for _ in range(count)]

    for step in range(2):
        train_step(trainable, objective_of(config), make_batch, step, flags=dict)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (out / f"rank{torch.distributed.get_rank()}.json").write_text(json.dumps({"bytes": peak - before}))


if __name__ == "__main__":
    main()
