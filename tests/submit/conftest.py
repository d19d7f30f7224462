"""A run that can be submitted, and a stand-in for sbatch."""

import os
from pathlib import Path

import pytest

from nemo_hs2pref.launch.jobs.submission import Job, make_job, submit

SCRIPT = Path(__file__).parents[2] / "slurm" / "train_rm_70b.sh"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to submit from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def places(here: Path) -> list[str]:
    """Overrides for a run whose data and checkpoint are there."""
    for name in ("pairs.train.jsonl", "ratings.validation.jsonl", "pairs.validation.jsonl"):
        (here / "data" / name).parent.mkdir(exist_ok=True)
        (here / "data" / name).touch()
    base = here / "base"
    (base / "model_weights").mkdir(parents=True)
    (base / "model_weights" / "metadata.json").touch()
    (base / "model_config.yaml").write_text("target: nemo_hs2pref.x\nnum_layers: 80\n")
    return [
        "experiment=rm_stage2_scaled_bt", "head.load_rm_head_weights=false", "data.dir=data",
        "pretrained_checkpoint.restore_from_path=base", "exp_manager.explicit_log_dir=runs/a",
    ]  # fmt: skip


@pytest.fixture
def sbatch(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a stand-in for sbatch writes its words (`words`) and environment (`env`)."""
    program = here / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text(f"""#!/bin/bash
printf '%s\\n' "$@" > {here}/words
env > {here}/env
[[ -z ${{SBATCH_REFUSES-}} ]] || {{ echo "sbatch: error: $SBATCH_REFUSES" >&2; exit 1; }}
echo "4711;north"
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return here


@pytest.fixture
def token() -> str:
    return "hf_" + 10 * "7"  # not as it stands in a diff of this file


@pytest.fixture
def submitted(sbatch: Path, places: list[str], token: str, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    job = make_job(SCRIPT, places)
    assert submit(job) == "4711"
    return job
