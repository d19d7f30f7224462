"""Room for the checkpoints of a run: bytes and files."""

import os
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

from nemo_hs2pref.config.schema import RewardModelConfig
from nemo_hs2pref.preflight.check import Finding, failed, ok
from nemo_hs2pref.preflight.shared_folder import nearest
from nemo_hs2pref.preflight.stored import shapes_of

SPARE = 1.1  # as runtime/keeper.py asks before every save
OPTIMIZER_BYTES = 12  # a parameter: main copy and AdamW's two moments, float32
FILES_A_RANK = 4  # two of the weights, two of the optimizer
OTHER_FILES = 64  # of a checkpoint and of a run
LANGUAGE_HEAD = "model.output_layer."  # not part of a reward model
ADAPTED = {  # model.peft.lora_tuning.target_modules -> the weights that get adapters
    "attention_qkv": ("linear_qkv",),
    "attention_dense": ("linear_proj",),
    "mlp_fc1": ("linear_fc1",),
    "mlp_fc2": ("linear_fc2",),
    "attention": ("linear_qkv", "linear_proj"),
    "mlp": ("linear_fc1", "linear_fc2"),
    "all": ("linear_qkv", "linear_proj", "linear_fc1", "linear_fc2"),
}


def look_at_disk(config: RewardModelConfig) -> Iterator[Finding]:
    """Free space where the run writes, against what its checkpoints take at most at one time."""
    home = nearest(Path(config.exp_manager.explicit_log_dir))
    weights, state = checkpoint_bytes(config, shapes_of(Path(config.pretrained_checkpoint.restore_from_path)))
    kept = config.exp_manager.checkpoint_callback_params.save_top_k
    present = bytes_in(Path(config.exp_manager.explicit_log_dir) / "checkpoints")
    needed = SPARE * peak_bytes(weights, state, kept) - present
    found = os.statvfs(home)
    free = found.f_bavail * found.f_frsize
    sizes = f"a resume state takes {gb(weights + state)}, {kept} best weights {gb(weights)} each (computed)"
    if free < needed:
        yield failed(
            f"{home}: {gb(free)} free, {gb(needed)} needed: {sizes}, and one is written before the old one goes",
            "make room, choose another run folder, or set exp_manager.checkpoint_callback_params.save_top_k lower",
        )
    files = (kept + 2) * (FILES_A_RANK * config.trainer.num_nodes * config.trainer.devices + OTHER_FILES)
    if found.f_files and found.f_favail < files:  # 0 files: a file system that does not count them
        yield failed(
            f"{home}: {found.f_favail} files can be made, {files} needed", "remove files; quota: lfs quota, df -i"
        )
    yield ok(f"{home}: {gb(free)} free, {gb(max(needed, 0))} needed; {sizes}")


def peak_bytes(weights: float, state: float, kept: int) -> float:
    """The resume state twice, since the new one is whole before the old one goes, and the best weights."""
    return 2 * (weights + state) + kept * weights


def checkpoint_bytes(config: RewardModelConfig, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Bytes of weights and training state as the run saves them; `shapes` are those of the checkpoint to start from."""
    shapes = {name: shape for name, shape in shapes.items() if not name.startswith(LANGUAGE_HEAD)}
    tuning = config.model.peft.lora_tuning
    if tuning is None:
        numbers = sum(map(prod, shapes.values()))
    else:
        layers = {layer for module in tuning.target_modules for layer in ADAPTED[module]}
        adapted = [shape for name, shape in shapes.items() if name.endswith(tuple(f"{at}.weight" for at in layers))]
        numbers = sum(tuning.adapter_dim * prod(shape[:-2]) * sum(shape[-2:]) for shape in adapted)
    width = 2 if config.trainer.precision == "bf16" else 4
    return numbers * width, numbers * OPTIMIZER_BYTES


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
