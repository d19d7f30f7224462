"""What sbatch gets of a script, a cluster and a run; it is a stand-in."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.jobs.cluster import load_cluster, sbatch_flags
from nemo_hs2pref.launch.jobs.script import words_of
from nemo_hs2pref.launch.jobs.submission import Job, make_job, submit
from nemo_hs2pref.recipes.rm import load_reward_model_config

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "slurm" / "train_rm_70b.sh"


def test_the_places_of_the_script_stand_before_what_is_given() -> None:
    words = words_of(SCRIPT, ["experiment=rm_stage2_scaled_bt", "exp_manager.explicit_log_dir='a b $x'"])
    assert words[:3] == ["train", "rm", "experiment=rm_stage1_helpfulness"]
    assert words[-2:] == ["experiment=rm_stage2_scaled_bt", "exp_manager.explicit_log_dir='a b $x'"]
    assert load_reward_model_config(words[2:])[0].exp_manager.explicit_log_dir == "a b $x"


def test_flags_are_those_of_the_layout_and_the_cluster(places: list[str]) -> None:
    job = make_job(SCRIPT, ["cluster=h100", "cluster.account=me", "cluster.sbatch_flags=['--nice=3']", *places])
    assert {"--account=me", "--nodes=4", "--ntasks-per-node=8", "--gpus-per-node=8", "--nice=3"} <= {*job.command}
    assert "--signal=B:USR1@600" in job.command
    assert job.command[-len(places) :] == places
    assert "export HS2PREF_CONTAINER=enroot_pyxis\n" in job.settings
    assert "export NCCL_NVLS_ENABLE=1\n" in job.settings


def run_cli(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nemo_hs2pref.cli", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_dry_run_prints_all_and_writes_nothing(here: Path) -> None:
    done = run_cli("submit", str(SCRIPT), "--dry-run", "model.optim.lr=2e-6", cwd=here)
    command, settings, script, config = [part.partition("\n")[2] for part in done.stdout.split("# ---- ")[1:]]
    assert done.returncode == 0
    assert shlex.split(command)[-1] == "model.optim.lr=2e-6"
    assert "sbatch" in shlex.split(command)
    assert "HS2PREF_CONTAINER=none" in settings
    assert script.strip() == SCRIPT.read_text().strip()
    assert yaml.safe_load(config)["model"]["optim"]["lr"] == 2e-6
    assert "would be refused: data.train:" in done.stderr
    assert not [*here.iterdir()]


def test_two_jobs_of_a_folder_never_run_at_once() -> None:
    def flags(run: str) -> list[str]:
        return sbatch_flags(load_cluster([]), nodes=1, devices=8, run=Path(run))

    assert "--dependency=singleton" in flags("/x/run")
    assert flags("/x/run")[0] == flags("/x/y/../run")[0] != flags("/y/run")[0]


def test_a_percent_sign_of_the_run_folder_is_no_pattern() -> None:
    assert "--output=/100%%j/logs/job-%j.out" in sbatch_flags(load_cluster([]), nodes=1, devices=8, run=Path("/100%j"))


@pytest.mark.parametrize(("gpus", "asked"), [(8, 1), (0, 0)])
def test_a_cluster_that_counts_no_gpus_is_asked_for_none(
    sbatch: Path, places: list[str], gpus: int, asked: int
) -> None:
    job = make_job(SCRIPT, [*places, f"cluster.gpus_per_node={gpus}"])
    submit(job)
    queued = Path(job.command[-len(places) - 1]).read_text()
    assert len([word for word in job.command if word.startswith("--gpus")]) == asked
    assert queued.count("#SBATCH --gpus") == asked
    assert queued.count("#SBATCH --") >= 10


def test_a_run_that_does_not_fit_into_memory_is_told(here: Path) -> None:
    small = run_cli("submit", str(SCRIPT), "--dry-run", "trainer.num_nodes=2", cwd=here)
    assert "hs2pref submit: warning: does not fit " in small.stderr
    assert "; no layout of these GPUs does: take more nodes" in small.stderr
    large = run_cli("submit", str(SCRIPT), "--dry-run", "trainer.num_nodes=2", "cluster.gpu_memory=200", cwd=here)
    assert "warning" not in large.stderr
    assert large.returncode == small.returncode == 0


def test_sbatch_gets_the_command_and_where_the_settings_are(sbatch: Path, submitted: Job) -> None:
    assert (sbatch / "words").read_text().splitlines() == submitted.command[1:]
    environment = (sbatch / "env").read_text().splitlines()
    assert f"HS2PREF_CLUSTER_FILE={submitted.record}/cluster.sh" in environment
    assert f"HS2PREF_HOME={ROOT}" in environment


def test_what_sbatch_says_is_passed_on_and_nothing_is_left(
    sbatch: Path, places: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_REFUSES", "invalid account")
    with pytest.raises(ConfigError, match="sbatch refused the job: sbatch: error: invalid account"):
        submit(make_job(SCRIPT, places))
    assert not [*(sbatch / "runs" / "a" / "submissions").iterdir()]


def test_all_shell_that_is_written_is_right(sbatch: Path, places: list[str]) -> None:
    """Also where names have blanks, quotes and dollars."""
    run = "runs/it's a $(x) `y`"
    values = ["cluster.environment.NOTE='a \"b\" $HOME `id`'", "cluster.python='/a b/python'"]
    quoted = run.replace("'", r"\'")
    job = make_job(SCRIPT, [*places, *values, f"exp_manager.explicit_log_dir='{quoted}'"])
    submit(job)
    written = sorted(job.record.glob("*.sh"))
    assert [path.name for path in written] == ["cluster.sh", "command.sh", "script.sh"]
    for path in written:
        assert subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False).stderr == ""
    assert shlex.split(job.line)[-len(job.command) :] == job.command
    assert job.run == sbatch / run


def test_a_job_knows_its_run_before_it_can_read_the_configuration(places: list[str], here: Path) -> None:
    job = make_job(SCRIPT, [*places, "exp_manager.explicit_log_dir='runs/a b'", "exp_manager.save_margin_s=299.5"])
    text = job.settings + "echo $HS2PREF_RUN:$HS2PREF_NODES:$HS2PREF_MARGIN_S"
    shown = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True).stdout
    assert shown == f"{here}/runs/a b:4:300\n"


@pytest.mark.parametrize(("job", "kept"), [("9", {"SLURM_CONF"}), (None, {"SLURM_CONF", "SLURM_TIME_FORMAT"})])
def test_from_within_a_job_nothing_of_that_job_is_submitted(
    sbatch: Path, places: list[str], monkeypatch: pytest.MonkeyPatch, job: str | None, kept: set[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name in ("SLURM_CONF", "SLURM_TIME_FORMAT"):
        monkeypatch.setenv(name, "x")
    if job is not None:
        for name in ("SLURM_JOB_ID", "SLURM_CPU_BIND", "SLURM_MEM_PER_CPU", "SRUN_CPUS_PER_TASK", "PMIX_RANK"):
            monkeypatch.setenv(name, job)
    submit(make_job(SCRIPT, places))
    names = {line.partition("=")[0] for line in (sbatch / "env").read_text().splitlines()}
    assert {name for name in names if name.startswith(("SLURM_", "SRUN_", "PMI"))} == kept
