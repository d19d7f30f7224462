"""Room for the checkpoints of a run: bytes and files."""

import os
from collections.abc import Iterator
from pathlib import Path

from nemo_hs2pref.checkpoint.layout import SPARE
from nemo_hs2pref.checkpoint.opening import read_config
from nemo_hs2pref.config.architecture import architecture_of
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.plan.plan import disk_of
from nemo_hs2pref.preflight.check import Finding, failed, ok, warning
from nemo_hs2pref.preflight.shared_folder import nearest

FILES_A_RANK = 4  # two of the weights, two of the optimizer
OTHER_FILES = 64  # of a checkpoint and of a run


def look_at_disk(config: RunConfig) -> Iterator[Finding]:
    """Free space where the run writes, against what its checkpoints take at most at one time."""
    home = nearest(Path(config.exp_manager.explicit_log_dir))
    checkpoint = read_config(Path(config.pretrained_checkpoint.restore_from_path))
    try:
        disk = disk_of(config, architecture_of(config, checkpoint))
    except ConfigError as error:  # not a Llama: the run may work all the same
        yield warning(f"not computed: {error}", f"see that {home} has room for two resume states and the best weights")
        return
    present = bytes_in(Path(config.exp_manager.explicit_log_dir) / "checkpoints")
    needed = SPARE * disk.peak - present
    found = os.statvfs(home)
    free = found.f_bavail * found.f_frsize
    best = f"{disk.best} best weights {gb(disk.weights)} each"
    sizes = f"a resume state takes {gb(disk.weights + disk.training_state)}, {best} (computed)"
    if free < needed:
        yield failed(
            f"{home}: {gb(free)} free, {gb(needed)} needed: {sizes}, and one is written before the old one goes",
            "make room, choose another run folder, or set exp_manager.checkpoint_callback_params.save_top_k lower",
        )
    files = (disk.best + 2) * (FILES_A_RANK * config.trainer.num_nodes * config.trainer.devices + OTHER_FILES)
    if found.f_files and found.f_favail < files:  # 0 files: a file system that does not count them
        yield failed(
            f"{home}: {found.f_favail} files can be made, {files} needed", "remove files; quota: lfs quota, df -i"
        )
    yield ok(f"{home}: {gb(free)} free, {gb(max(needed, 0))} needed; {sizes}")


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
