"""A SLURM of two virtual nodes for the session; jobs of it train llama_tiny, tensor parallel across the nodes."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_jobs import Cluster

VIRTUAL_CLUSTER = Path(__file__).with_name("virtual_cluster.sh")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, llama_tiny: Path, sample: Path) -> Iterator[Cluster]:
    """Skips where there is no SLURM; with HS2PREF_REQUIRE_SLURM set, as in CI, that fails instead."""
    if reason := why_not():
        refuse = pytest.fail if os.environ.get("HS2PREF_REQUIRE_SLURM") else pytest.skip
        refuse(f"no job was submitted: {reason}")
    with tempfile.TemporaryDirectory(prefix="hs2pref-slurm-") as folder:
        os.chmod(folder, 0o755)  # munge's socket must be in reach of everybody
        start, stop = ([str(VIRTUAL_CLUSTER), *words] for words in (["start", "2"], ["stop"]))
        environment = {**os.environ, "VIRTUAL_CLUSTER": f"{folder}/cluster"}
        subprocess.run(start, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=120)
        yield Cluster(tmp_path_factory.mktemp("slurm"), f"{folder}/cluster/slurm.conf", base=llama_tiny, data=sample)
        subprocess.run(stop, env=environment, check=True, timeout=120)


def why_not() -> str | None:
    if shutil.which("slurmctld") is None:
        return "SLURM is not installed (make slurm-deps)"
    return None if os.geteuid() == 0 else "a virtual cluster needs root"
