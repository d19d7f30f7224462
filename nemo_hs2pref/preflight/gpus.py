"""The node's GPUs: what the driver says of them, and whether torch computes on them."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.preflight.check import Finding, failed, ok, skipped, warning

DRIVER = Path("/proc/driver/nvidia")
FIELDS = ("index", "name", "memory.total", "memory.used", "driver_version", "ecc.errors.uncorrected.volatile.total")
QUERY = ("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")
BUSY_MIB = 1024  # a driver alone takes less than that   [ours]
EXCLUDE = "leave the node out (sbatch --exclude=NODE) and tell its administrators"


class Gpu(NamedTuple):
    """A line of nvidia-smi; what a GPU does not count is [N/A]."""

    number: str
    name: str
    memory_mib: str
    used_mib: str
    driver: str
    ecc_errors: str


def look_at_gpus(config: RunConfig | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Number, model, memory in use, errors that ECC could not correct."""
    if shutil.which(QUERY[0]) is None:
        yield without_gpu("nvidia-smi is not here", config, environ)
        return
    done = subprocess.run(QUERY, capture_output=True, text=True, check=False)
    rows = [Gpu(*cells) for cells in split(done.stdout) if len(cells) == len(FIELDS)]
    if done.returncode or not rows:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[0]
        yield failed(f"nvidia-smi ended with {done.returncode} and said: {said}", EXCLUDE)
        return
    yield from faults(rows)
    if config and len(rows) < config.trainer.devices:
        yield failed(
            f"{len(rows)} GPUs, trainer.devices={config.trainer.devices}",
            "ask for them (sbatch --gpus-per-node), or give trainer.devices and a layout that fit",
        )
    models = sorted({f"{row.name}, {row.memory_mib} MiB" for row in rows})
    yield ok(f"{len(rows)} x {' and '.join(models)}, driver {rows[0].driver}")


def split(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split(",")] for line in table.splitlines()]


def faults(rows: list[Gpu]) -> Iterator[Finding]:
    """What is wrong with single GPUs, and what they differ in."""
    for row in rows:
        if row.ecc_errors.isdigit() and int(row.ecc_errors):
            yield failed(f"GPU {row.number} has {row.ecc_errors} uncorrected memory errors since its start", EXCLUDE)
        if row.used_mib.isdigit() and int(row.used_mib) > BUSY_MIB:
            yield warning(
                f"{row.used_mib} MiB of GPU {row.number} are in use already",
                "`nvidia-smi` lists the processes; the run may be out of memory",
            )
    if len({(row.name, row.memory_mib) for row in rows}) > 1:
        yield warning("the GPUs differ", "all wait for the slowest, and the smallest memory decides")


def without_gpu(why: str, config: RunConfig | None, environ: Mapping[str, str]) -> Finding:
    """float32 runs without a GPU, bfloat16 is for GPUs."""
    if config and config.trainer.precision == "bf16":
        return failed(f"{why}, and trainer.precision=bf16 is for GPUs", "take a node with GPUs, or parallel=single")
    if int(environ.get("SLURM_GPUS_ON_NODE", 0)):
        return warning(f"{why}, but SLURM counts GPUs here", "the run would compute on the processors")
    return skipped(f"{why}: computing on the processors")


def has_driver() -> bool:
    return shutil.which(QUERY[0]) is not None or DRIVER.exists()


def look_at_cuda(config: RunConfig | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """A product on every GPU: the container's CUDA and the node's driver understand each other."""
    if not has_driver():
        yield without_gpu("no NVIDIA driver is here", config, environ)
        return
    import torch  # heavy

    build = f"torch {torch.__version__}"
    if torch.version.cuda is None:
        yield failed(f"{build} is a build without CUDA", "install the other one: TORCH=cuda launchers/setup.sh")
        return
    try:
        count = torch.cuda.device_count()
        for index in range(count):
            square = torch.ones(64, 64, device=f"cuda:{index}")
            if (square @ square).sum().item() != 64**3:
                yield failed(f"GPU {index} computes a wrong product", EXCLUDE)
        driver = torch._C._cuda_getDriverVersion() if count else 0  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage] no other way
    except RuntimeError as error:
        hint = "a newer driver, or an image for this one; else leave the node out (sbatch --exclude=NODE)"
        yield failed(f"{build} with CUDA {torch.version.cuda} cannot compute: {str(error).splitlines()[0]}", hint)
        return
    if count == 0:
        yield without_gpu(f"{build} sees no GPU", config, environ)
        return
    if config and count < config.trainer.devices:
        yield failed(
            f"torch sees {count} GPUs, trainer.devices={config.trainer.devices}",
            "CUDA_VISIBLE_DEVICES or srun's flags hide some; in apptainer give --nv",
        )
    if config and config.trainer.precision == "bf16" and not torch.cuda.is_bf16_supported():
        yield failed("the GPUs have no bfloat16", "take A100, H100 or newer")
    theirs = f"{driver // 1000}.{driver % 1000 // 10}"
    yield ok(f"{count} GPUs compute; {build} with CUDA {torch.version.cuda}, the driver's is {theirs}")
