"""Jobs that do not go well: a rank is killed, the user cancels, the time is up, the job does not fit."""

import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from slurm_jobs import SCRIPT, Cluster, Run, wait_until

pytestmark = [pytest.mark.nemo, pytest.mark.slurm]


def processes_of(job: str) -> list[psutil.Process]:
    """What runs for a job on any node."""
    return [process for process in psutil.process_iter() if variable(process, "SLURM_JOB_ID") == job]


def variable(process: psutil.Process, name: str) -> str | None:
    try:
        return process.environ().get(name)
    except psutil.Error:
        return None


def is_ours(process: psutil.Process) -> bool:
    try:
        return "nemo_hs2pref.cli" in process.cmdline()[:3]
    except psutil.Error:
        return False


def kill_rank(job: str, rank: int) -> None:
    """The oldest of its Pythons: in a save it has forked writers."""
    of_rank = (process for process in processes_of(job) if variable(process, "SLURM_PROCID") == str(rank))
    min(filter(is_ours, of_rank), key=psutil.Process.create_time).send_signal(signal.SIGKILL)


@dataclass(frozen=True)
class Broken:
    run: Run
    job: str
    state: str
    seconds: float  # from the kill to the line
    second: str  # what a second job on the folder says
    left: list[psutil.Process]  # at the very end
    while_running: tuple[int, dict]  # hs2pref status
    canceled_s: float  # from scancel to the job's end


STEPS = "trainer.rm.max_steps=99"


def second_job(cluster: Cluster, run: Run) -> str:
    """What bare sbatch on a folder in which a job is at work ends with."""
    output = cluster.folder / "second.out"
    cluster.wait(cluster.sbatch("--oversubscribe", overrides=cluster.overrides(run, STEPS), output=output))
    return output.read_text()


@pytest.fixture(scope="module")
def broken(cluster: Cluster) -> Broken:
    """Rank 1 is killed after step 2; the job may fail once and starts again; then it is cancelled."""
    run = cluster.run("broken")
    settings = ["cluster.max_failures=2", "cluster.sbatch_flags=[--oversubscribe]"]  # room for a second job
    job = cluster.checked_submit(run, *settings, "trainer.rm.save_interval=1", STEPS)
    wait_until(lambda: run.state.get("checkpoint_step", 0) >= 2, "no second step")
    while_running = cluster.status(run)
    second = second_job(cluster, run)
    kill_rank(job, 1)
    killed = time.monotonic()
    wait_until(lambda: " ended: " in run.last_line(job), "no last line")
    seconds = time.monotonic() - killed
    wait_until(lambda: run.state["starts"] == 2 and run.state["phase"] != "starting", "no second start")
    cluster.checked("scancel", job)
    canceled = time.monotonic()
    state = cluster.wait(job)
    return Broken(run, job, state, seconds, second, processes_of(job), while_running, time.monotonic() - canceled)


def test_a_killed_rank_ends_the_start_and_is_named_in_the_last_line(broken: Broken) -> None:
    line = broken.run.last_line(broken.job)
    assert " ended: failed, exit code 137 after " in line
    assert "; rank 1 on node2: killed by SIGKILL; " in line
    assert broken.seconds < 30


def test_a_second_job_on_the_folder_ends_at_once(broken: Broken) -> None:
    """By the lock of the run where the first one works in it, by that of the job while it waits."""
    works = f"{broken.run.folder}: another start works in this folder, process "
    assert f", SLURM job {broken.job!r}, since" in broken.second.partition(works)[2] or broken.second.startswith(
        f"hs2pref: job {broken.job} works in {broken.run.folder}, or waits to go on; "
    )


def test_a_failed_start_is_followed_by_another_while_the_limit_allows(broken: Broken) -> None:
    assert broken.run.last_line(broken.job).endswith("; requeued, failure 1 of 2 in a row")
    assert (broken.run.folder / "logs" / f"{broken.job}-r1").is_dir()


def test_a_cancelled_job_says_so_and_leaves_no_process(broken: Broken) -> None:
    line = broken.run.last_line(f"{broken.job}-r1")
    assert " ended: cancelled, exit code " in line
    assert line.endswith("; to go on submit the same again")
    assert broken.state == "CANCELLED"
    assert broken.left == []
    assert broken.canceled_s < 30


def test_status_tells_running_from_failed(cluster: Cluster, broken: Broken) -> None:
    code, status = broken.while_running
    assert (code, status["outcome"], status["queue"]) == (3, "running", "RUNNING")
    assert status["left_s"] > 0
    code, status = cluster.status(broken.run)
    assert (code, status["outcome"]) == (1, "failed")
    assert " ended: cancelled" in status["message"]


@pytest.fixture(scope="module")
def timed_out(cluster: Cluster) -> tuple[Run, str, str]:
    """Bare sbatch with a limit of two minutes and USR1 from slurmctld itself; the next start has all the time."""
    run, steps = cluster.run("timed_out"), "trainer.rm.max_steps=60"
    job = cluster.sbatch(
        "--time=2",
        "--signal=B:USR1@60",
        overrides=cluster.overrides(run, steps),
        output=cluster.folder / "timed_out.out",
    )
    wait_until(lambda: (run.folder / "logs" / f"{job}-r1").is_dir() or not cluster.is_queued(job), "no second start")
    cluster.checked("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    return run, job, cluster.wait(job)


def test_a_time_limit_makes_the_run_save_and_go_on(timed_out: tuple[Run, str, str]) -> None:
    run, job, state = timed_out
    assert " ended: stopped in time, exit code 85 after " in run.last_line(job)
    assert state == "COMPLETED"
    assert [row["step"] for row in run.trained()] == list(range(1, 61))


@pytest.mark.parametrize(
    ("flags", "more", "said"),
    [
        (["--nodes=1"], [], "it has 1 nodes, trainer.num_nodes=2"),
        (["--gpus-per-node=4"], [], "it has 4 GPUs a node, trainer.devices=1"),
        (["--time=1"], ["exp_manager.save_margin_s=90"], "exp_manager.save_margin_s=90 keeps for saving"),
        ([], ["model.optim.lrr=1"], "hs2pref: unknown key model.optim.lrr; did you mean model.optim.lr?"),
        ([], ["data.dir=/nowhere"], "hs2pref: data.train: /nowhere/pairs.train.jsonl is not there"),
        (["--no-requeue"], ["cluster=h100"], "hs2pref: unknown key cluster; it is for the cluster"),
    ],
)
def test_a_job_that_cannot_run_ends_within_seconds_with_one_sentence(
    cluster: Cluster, tmp_path: Path, flags: list[str], more: list[str], said: str
) -> None:
    run, output = Run(tmp_path / "run"), tmp_path / "out"
    job = cluster.sbatch(*flags, overrides=cluster.overrides(run, *more), output=output)
    wait_until(output.exists, "the job does not start")
    started = time.monotonic()
    assert cluster.wait(job) == "FAILED"
    assert time.monotonic() - started < 60  # of a machine that others load too
    assert said in output.read_text()
    assert len(output.read_text().splitlines()) == 1
    assert not run.folder.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["model.optim.lrr=1"], "unknown key model.optim.lrr; did you mean model.optim.lr?"),
        (["model.tensor_model_parallel_size=4"], "does not divide"),
        (["data.dir=/nowhere"], "data.train: /nowhere/pairs.train.jsonl is not there"),
        (["cluster.partition=nonsuch"], "sbatch refused the job: sbatch: error: invalid partition specified: nonsuch"),
    ],
)
def test_submit_never_queues_what_cannot_run(cluster: Cluster, tmp_path: Path, more: list[str], said: str) -> None:
    before = cluster.checked("squeue", "--noheader", "--states=all", "--format=%A")
    done = cluster.submit(Run(tmp_path / "run"), *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert cluster.checked("squeue", "--noheader", "--states=all", "--format=%A") == before
    assert not [*tmp_path.glob("run/submissions/*")]


def test_the_script_submitted_from_elsewhere_names_the_repository_it_needs(cluster: Cluster, tmp_path: Path) -> None:
    words = ["sbatch", "--parsable", "--nodes=1", "--ntasks-per-node=1", "--gpus-per-node=1", "--output=out", SCRIPT]
    job = subprocess.run(words, cwd=tmp_path, env=cluster.environment, capture_output=True, text=True).stdout.strip()
    assert cluster.wait(job) == "FAILED"
    said = (tmp_path / "out").read_text()
    assert said == f"hs2pref: {tmp_path} is not the repository; call sbatch there, or export HS2PREF_HOME=/path/to/it\n"
