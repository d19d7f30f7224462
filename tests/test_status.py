"""`hs2pref status`: every outcome of a run folder, with and without a queue that knows the job."""

import json
import os
from pathlib import Path

import pytest

from nemo_hs2pref.cli import main
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.jobs.status import read_status
from nemo_hs2pref.run_state import StateFile, as_text, record_failure


@pytest.fixture
def state(tmp_path: Path) -> StateFile:
    """A local run after step 4 of 10, three seconds a step but the first."""
    rows = [{"kind": "train", "step": step, "step_s": 30.0 if step == 1 else 3.0} for step in range(1, 5)]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"kind": "train", "st'
    (tmp_path / "metrics.jsonl").write_text(text)
    state = StateFile(tmp_path, step=0, num_steps=10, checkpoint=None, started=0.0)
    state.note(phase="training", step=4, checkpoint="checkpoints/last", checkpoint_step=2)
    return state


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for squeue prints what stands in this file."""
    program = tmp_path / "bin" / "squeue"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/queue\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "queue"


def job(run: Path, name: str, *lines: str) -> None:
    (run / "logs" / name).mkdir(parents=True)
    (run / "logs" / name / "driver.log").write_text("".join(f"{line}\n" for line in lines))


def test_a_local_run_has_rate_and_time_left(state: StateFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(state.folder)]) == 3
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"{state.folder}: running, step 4 of 10, 3 s a step, 0:00:18 left"
    assert shown[-1] == f"last checkpoint {state.folder}/checkpoints/last of step 2"


def test_json_has_all_of_it(state: StateFile, capsys: pytest.CaptureFixture[str]) -> None:
    main(["status", str(state.folder), "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert (shown["outcome"], shown["step"], shown["num_steps"], shown["left_s"]) == ("running", 4, 10, 18.0)


def test_files_with_something_else_in_them_are_no_traceback(state: StateFile) -> None:
    """What is wanted of them is not there; who writes that into the run's own files is refused (test_run_state)."""
    (state.folder / "metrics.jsonl").write_bytes(b'[1]\n{"step_s": "x"}\n{"step_s": 1e999}\n\xff\n{"step_s": 2}\n')
    record_failure(state.folder, rank=0, message="", exit_code=1)
    (state.folder / "submissions" / "now").mkdir(parents=True)
    (state.folder / "submissions" / "now" / "job_id").write_text("x[$(a)]")
    status = read_status(state.folder)
    assert (status.step_s, status.message, status.job) == (2.0, "rank 0: ", None)


def test_a_run_that_has_been_silent_is_not_running(state: StateFile) -> None:
    text = (state.folder / "run_state.json").read_text()
    (state.folder / "run_state.json").write_text(text.replace(state.state.updated, as_text(0.0)))
    assert read_status(state.folder).outcome == "failed"


@pytest.mark.parametrize(
    ("phase", "outcome", "code"), [("stopped", "stopped", 5), ("finished", "finished", 0), ("saving", "running", 3)]
)
def test_the_trainer_has_the_say_of_a_local_run(state: StateFile, phase: str, outcome: str, code: int) -> None:
    state.note(phase=phase)
    assert read_status(state.folder).outcome == outcome
    assert main(["status", str(state.folder)]) == code


def test_a_failure_is_its_last_line(state: StateFile) -> None:
    record_failure(state.folder, rank=3, message="Traceback\n  x\nValueError: no", exit_code=1)
    status = read_status(state.folder)
    assert (status.outcome, status.message) == ("failed", "rank 3: ValueError: no")


def test_the_newest_start_of_a_job_is_read(state: StateFile) -> None:
    job(state.folder, "7", "T 0:00:01 phase: train", "T 0:10:00 ended: failed, exit code 1 ...; requeued")
    os.utime(state.folder / "logs" / "7", (1.0, 1.0))
    job(state.folder, "7-r1", "T 0:00:01 phase: train", "T 0:20:00 ended: cancelled, exit code 143 after 0:20:00")
    status = read_status(state.folder)
    assert (status.outcome, status.job) == ("failed", "7")
    assert status.message == "T 0:20:00 ended: cancelled, exit code 143 after 0:20:00"


@pytest.mark.parametrize(
    ("queue", "outcome", "shown"),
    [
        ("RUNNING node1", "running", "RUNNING"),
        ("PENDING (Resources)", "waiting", "PENDING (Resources)"),
        ("", "failed", None),
    ],
)
def test_a_queue_that_knows_the_job_has_the_say(
    state: StateFile, squeue: Path, queue: str, outcome: str, shown: str | None
) -> None:
    job(state.folder, "7", "T 0:10:00 ended: failed, exit code 1 ...")
    squeue.write_text(queue)
    status = read_status(state.folder)
    assert (status.outcome, status.queue) == (outcome, shown)


def test_a_queue_that_does_not_answer_is_said_and_has_no_say(state: StateFile, squeue: Path) -> None:
    """It has forgotten nothing, as a queue has that knows no such job."""
    (squeue.parent / "bin" / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: timed out' >&2\nexit 1\n")
    job(state.folder, "7", "T 0:10:00 phase train")
    status = read_status(state.folder)
    assert (status.outcome, status.queue) == ("running", "NOT KNOWN (squeue does not answer)")


def test_a_job_that_squeue_has_forgotten_is_over(state: StateFile, squeue: Path) -> None:
    program = squeue.parent / "bin" / "squeue"
    program.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2\nexit 1\n")
    job(state.folder, "7", "T 0:10:00 ended: failed, exit code 1 ...")
    status = read_status(state.folder)
    assert (status.outcome, status.queue) == ("failed", None)


def test_a_job_that_waits_for_its_first_start_is_found(tmp_path: Path, squeue: Path) -> None:
    (tmp_path / "submissions" / "1").mkdir(parents=True)
    (tmp_path / "submissions" / "1" / "job_id").write_text("8\n")
    squeue.write_text("PENDING (Priority)")
    status = read_status(tmp_path)
    assert (status.outcome, status.job, status.num_steps) == ("waiting", "8", None)


@pytest.mark.parametrize(
    ("newest", "queue", "outcome"),
    [("8", "PENDING (Priority)", "waiting"), ("8", "", "finished"), ("7", "RUNNING node1", "finished")],
)
def test_a_finished_run_waits_again_with_a_newer_job(
    state: StateFile, squeue: Path, newest: str, queue: str, outcome: str
) -> None:
    state.note(phase="finished")
    job(state.folder, "7", "T 0:10:00 ended: finished, exit code 0 ...")
    (state.folder / "submissions" / "1").mkdir(parents=True)
    (state.folder / "submissions" / "1" / "job_id").write_text(f"{newest}\n")
    squeue.write_text(queue)
    assert read_status(state.folder).outcome == outcome


def test_a_start_that_ended_before_it_had_a_folder_is_the_newest(state: StateFile, squeue: Path) -> None:
    begun, ended = (
        "2026-11-21T14:00:01Z 0:00:01 job 7 on gpu1, 1 nodes",
        "T 0:10:00 ended: stopped in time, ...; requeued",
    )
    job(state.folder, "7", begun, ended)
    squeue.write_text("")
    out = state.folder / "logs" / "job-7.out"
    out.write_text(f"{begun}\n{ended}\n")
    assert (read_status(state.folder).outcome, read_status(state.folder).message) == ("stopped", ended)
    refused = "hs2pref: python3 cannot read the configuration on gpu1: pyxis: no"
    out.write_text(f"{begun}\n{ended}\na banner\n{refused}\nslurmstepd: error: x\n")
    assert (read_status(state.folder).outcome, read_status(state.folder).message) == ("failed", refused)
    squeue.write_text("PENDING (BeginTime)")
    assert (read_status(state.folder).outcome, read_status(state.folder).message) == ("waiting", refused)
    out.write_text(f"{refused}\n{begun}\n{ended}\n")
    assert read_status(state.folder).message == ended


def test_a_first_start_that_ended_before_it_had_a_folder_says_why(tmp_path: Path, squeue: Path) -> None:
    (tmp_path / "submissions" / "1").mkdir(parents=True)
    (tmp_path / "submissions" / "1" / "job_id").write_text("7\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "job-7.out").write_text("hs2pref: data.train: /x is not there\n")
    squeue.write_text("")
    status = read_status(tmp_path)
    assert (status.outcome, status.message) == ("failed", "hs2pref: data.train: /x is not there")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run has started here"):
        read_status(tmp_path)
