"""The job script on two virtual nodes: straight through; asked to stop, requeued and resumed, with the same losses."""

from dataclasses import dataclass

import pytest
import yaml
from slurm_jobs import Cluster, Run, wait_until

pytestmark = pytest.mark.nemo
STEPS = 8


@dataclass(frozen=True)
class Ended:
    run: Run
    job: str
    state: str


@pytest.fixture(scope="module")
def straight(cluster: Cluster) -> Ended:
    """With preflight."""
    run = cluster.run("straight")
    job = cluster.checked_submit(run, "cluster.environment.HS2PREF_PREFLIGHT=yes")
    return Ended(run, job, cluster.wait(job))


@pytest.fixture(scope="module")
def stopped(cluster: Cluster) -> Ended:
    """Its batch shell gets USR1 after step 3, as from slurmctld before the time limit."""
    run = cluster.run("stopped 100%n here $x")
    job = cluster.checked_submit(run)
    wait_until(lambda: run.has_step(3), "no third step")
    cluster.checked("scancel", "--batch", "--signal=USR1", job)
    return Ended(run, job, cluster.wait(job))


@pytest.fixture(scope="module")
def hurried(cluster: Cluster) -> Ended:
    """A run that is to begin anew, whose batch shell gets USR1 before srun has started anything."""
    run = cluster.run("hurried")
    job = cluster.checked_submit(run, "exp_manager.resume_if_exists=false")
    log = run.folder / "logs" / job / "driver.log"
    wait_until(lambda: log.exists() and "phase: train" in log.read_text(), "no training")
    cluster.checked("scancel", "--batch", "--signal=USR1", job)
    return Ended(run, job, cluster.wait(job))


def test_a_job_trains_across_nodes_and_ends_with_one_line(straight: Ended) -> None:
    last = straight.run.folder / "checkpoints" / "last"
    assert straight.state == "COMPLETED"
    line = straight.run.last_line(straight.job)
    assert " ended: finished, exit code 0 after 0:0" in line
    assert line.endswith(f"step {STEPS} of {STEPS}, last checkpoint {last} of step {STEPS}")
    assert (straight.run.folder / "logs" / f"job-{straight.job}.out").read_text().splitlines()[-1] == line


def test_both_nodes_are_looked_at_before_training(straight: Ended) -> None:
    logs = straight.run.folder / "logs" / straight.job
    found = (logs / "preflight.log").read_text()
    assert "node1: ok       rendezvous" in found
    assert "all 2 nodes see it" in found
    phases = [line.partition("phase: ")[2] for line in (logs / "driver.log").read_text().splitlines()]
    assert [name for name in phases if name] == ["preflight", "train"]


def test_each_node_has_its_own_log(straight: Ended) -> None:
    first, second = sorted((straight.run.folder / "logs" / straight.job).glob("node-*.log"))
    assert f"0: step {STEPS}/{STEPS}" in first.read_text()
    assert "0: " not in second.read_text()


def test_what_was_submitted_is_kept_in_the_run_folder(straight: Ended) -> None:
    (record,) = (straight.run.folder / "submissions").iterdir()
    assert yaml.safe_load((record / "config.yaml").read_text())["trainer"]["rm"]["max_steps"] == STEPS
    assert (record / "job_id").read_text().strip() == straight.job
    assert (record / "git.txt").read_text().startswith("commit ")


def test_a_run_that_is_asked_to_stop_saves_and_its_job_is_requeued(stopped: Ended) -> None:
    line = stopped.run.last_line(stopped.job)
    assert " ended: stopped in time, exit code 85 after " in line
    assert line.endswith("; requeued")
    assert stopped.state == "COMPLETED"
    assert " ended: finished, exit code 0 " in stopped.run.last_line(f"{stopped.job}-r1")


def test_a_run_that_is_asked_to_stop_before_it_has_begun_loses_nothing(hurried: Ended) -> None:
    assert " ended: stopped in time, exit code 85 after " in hurried.run.last_line(hurried.job)
    assert hurried.state == "COMPLETED"


def test_a_run_that_is_to_begin_anew_does_so_once(straight: Ended, hurried: Ended) -> None:
    assert [row["step"] for row in hurried.run.trained()] == list(range(1, STEPS + 1))
    assert hurried.run.losses() == straight.run.losses()
    assert hurried.run.state["starts"] == 2
    assert not (hurried.run.folder / "logs" / "job.lock").exists()


def test_it_resumes_with_the_losses_of_a_run_that_was_never_stopped(straight: Ended, stopped: Ended) -> None:
    assert [row["step"] for row in stopped.run.trained()] == list(range(1, STEPS + 1))
    assert stopped.run.losses() == straight.run.losses()


def test_status_reads_a_finished_job_back(cluster: Cluster, stopped: Ended) -> None:
    code, status = cluster.status(stopped.run)
    assert code == 0
    assert (status["outcome"], status["step"], status["starts"]) == ("finished", STEPS, 2)
    assert status["job"] == stopped.job
