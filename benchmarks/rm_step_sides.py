"""One side of rm_step.py in its own process: builds it, takes the steps, writes figures as JSON.

usage: rm_step_sides.py SIDE FOLDER BASE RESULT STEPS SEQ_LENGTH THREADS
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nemo_hs2pref.checkpoint.opening import read_config
from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.recipes.rm import load_reward_model_config
from nemo_hs2pref.runtime.platform import machine

Step = Callable[[], dict[str, float]]  # takes one optimizer step; "loss", "tokens", "positions", "seconds"


def main(side: str, folder: Path, base: Path, result: Path, steps: int, seq_length: int, threads: int) -> None:
    torch.set_num_threads(threads)
    config = load_reward_model_config(
        [
            *("experiment=rm_stage1_helpfulness", "model=smollm2", f"model.encoder_seq_length={seq_length}"),
            *("model.micro_batch_size=2", "model.global_batch_size=8", f"trainer.rm.max_steps={1 + steps}"),
            *("model.optim.lr=1e-4", "model.optim.sched.warmup_steps=0", "data.shuffle=false"),
            *("head.bias=true", f"data.dir={folder}", "exp_manager.explicit_log_dir=none"),  # Aligner's head has a bias
            f"pretrained_checkpoint.restore_from_path={base}",
        ],
    )[0]
    machine.prepare()
    if side.startswith("stock"):
        from rm_step_stock import stock

        step = stock(config, folder / "aligner.jsonl", sdpa=side == "stock_sdpa")
        figures: dict[str, Any] = {}
    else:
        step, figures = ours(config, steps, profiled=side == "ours_profile")
    figures["rss_before"] = current_rss()
    figures["steps"] = [watched(step) for _ in range(1 + steps)]
    figures["peak_rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result.write_text(json.dumps(figures))


def watched(step: Step) -> dict[str, float]:
    """The step's figures with this process's CPU seconds, user and system, and the cores that others kept busy."""
    wall, own, all_busy = time.perf_counter(), os.times(), machine_busy_s()
    figures = step()
    wall, now = time.perf_counter() - wall, os.times()
    user, system = now.user - own.user, now.system - own.system
    others = (machine_busy_s() - all_busy - user - system) / wall
    return figures | {"user_s": user, "system_s": system, "other_cores": max(0.0, others)}


def machine_busy_s() -> float:
    """CPU seconds of all processes since boot; see proc_stat(5)."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def current_rss() -> int:
    """Bytes resident now: imports, weights, optimizer buffers."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def ours(config: RewardModelConfig, steps: int, *, profiled: bool) -> tuple[Step, dict[str, Any]]:
    """What runtime.run.train.train does, without its log and checkpoints; the clock includes making the batch."""
    from nemo_hs2pref.algorithms.step import train_step
    from nemo_hs2pref.recipes.rm_training import read_data, supervised
    from nemo_hs2pref.runtime.run.batching import Batcher, sequence_multiple
    from nemo_hs2pref.runtime.run.train import start

    data = read_data(config)
    checkpoint = read_config(Path(config.pretrained_checkpoint.restore_from_path))
    kind = supervised(config, checkpoint)
    trainable, progress = start(kind, config, data.num_steps, resumed=None)
    batcher = Batcher(config, kind.collate, multiple_of=sequence_multiple(config))
    batches: list[Any] = []

    def make_batch() -> list[Any]:
        batches[:] = batcher(data.train, data.order.indices(progress.step))
        return batches

    figures: dict[str, Any] = {}

    def step() -> dict[str, float]:
        started = time.perf_counter()
        metrics, _ = train_step(trainable, kind.objective, make_batch, progress.step, flags=dict)
        seconds = time.perf_counter() - started
        progress.step += 1
        positions = sum(batch.tokens.ids.numel() for batch in batches)
        return {"loss": metrics["loss"], "tokens": metrics["tokens"], "positions": positions, "seconds": seconds}

    def profiled_last() -> dict[str, float]:
        if progress.step < steps:
            return step()
        from rm_step_profile import profile_step

        figures["profile"], taken = profile_step(step, trainable, batches)
        return taken

    return (profiled_last if profiled else step), figures


if __name__ == "__main__":
    side, *paths = sys.argv[1:5]
    folder, base, result = map(Path, paths)
    main(side, folder, base, result, *map(int, sys.argv[5:]))
