"""The frame of the job scripts, where it needs no SLURM: how a start ended, what is said of it, what comes next."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from nemo_hs2pref.errors import STOPPED
from nemo_hs2pref.run_state import RunState, StateFile, record_failure, write

ROOT = Path(__file__).parents[1]
FRAME = ROOT / "slurm" / "frame.sh"
SCRIPTS = sorted([*ROOT.glob("slurm/*.sh"), *ROOT.glob("slurm/frame/*.sh")])
MESSAGES = {
    "exit": "srun: error: gpu7: tasks 8-9: Exited with exit code 2",
    "crash": "srun: error: gpu7: task 9: Exited with exit code 1",
    "shell": "srun: error: gpu7: task 9: Exited with exit code 139",
    "memory": "srun: error: gpu7: task 9: Out Of Memory",
    "launch": "srun: error: Unable to create step for job 7: Job/step already completing or completed",
}
LATER = "srun: error: gpu3: tasks 0-7: Exited with exit code 143"


def frame(program: str, **variables: str) -> str:
    """Standard output of `program` behind the frame's functions."""
    environment = {"PATH": os.environ["PATH"], "HS2PREF_HOME": str(ROOT), **variables}
    done = subprocess.run(
        ["bash", "-c", f"source {FRAME}\n{program}"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run after step 40 of 100, saved at step 30, with the logs of job 7."""
    (tmp_path / "logs" / "7").mkdir(parents=True)
    state = StateFile(tmp_path, step=0, num_steps=100, checkpoint=None, started=0.0)
    state.note(phase="training", step=40, checkpoint="checkpoints/last", checkpoint_step=30)
    return tmp_path


def conclude(run: Path, code: int, said: list[str], *, before: int = 0, limit: int = 1, requeue: int = 1) -> str:
    """The last line of a start that began after checkpoint `before` and ended with `code`; srun has `said` things."""
    (run / "logs" / "7" / "driver.log").write_text("".join(f"{line}\n" for line in said))
    program = f"""
scontrol() {{
  if [[ $1 == requeue ]]; then echo "requeue $2" >> {run}/asked; else echo "JobId=7 Requeue={requeue} X"; fi
}}
RUN={run} LOGS={run}/logs/7 STOPPED_CODE={STOPPED} EXIT_CODE={code} TERMINATED='' FIRST_CHECKPOINT_STEP={before}
exec 3>/dev/null
conclude
"""
    output = frame(program, SLURM_JOB_ID="7", HS2PREF_MAX_FAILURES=str(limit))
    return output.splitlines()[-1].partition(" ended: ")[2]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_syntax_is_right(script: Path) -> None:
    assert subprocess.run(["bash", "-n", script], capture_output=True).stderr == b""


def test_the_line_of_a_run_that_went_well(run: Path) -> None:
    line = conclude(run, 0, [])
    assert (
        line
        == f"finished, exit code 0 after 0:00:00, step 40 of 100, last checkpoint {run}/checkpoints/last of step 30"
    )
    assert not (run / "asked").exists()


@pytest.mark.parametrize(
    ("said", "message", "expected"),
    [
        ("exit", 'pairs.jsonl:76: not JSON ("x")', 'exit code 2 after .*; rank 9: pairs.jsonl:76: not JSON ("x")'),
        ("crash", "Traceback:\n  File\nValueError: a \\ and é", "exit code 1 after .*; rank 9: ValueError: a \\ and é"),
        ("crash", None, "exit code 1 after .*; rank 9 on gpu7: exit code 1, its output is in "),
        ("shell", None, "exit code 139 after .*; rank 9 on gpu7: killed by SIGSEGV"),
        ("memory", None, "exit code 143 after .*; rank 9 on gpu7: Out Of Memory"),
        ("launch", None, "exit code 143 after .*; Unable to create step for job 7: Job/step already completing"),
    ],
)  # fmt: skip
def test_the_first_rank_to_fail_is_named_with_its_message(
    run: Path, said: str, message: str | None, expected: str
) -> None:
    if message:
        record_failure(run, rank=9, message=message, exit_code=1)
    line = conclude(run, 143, ["phase", MESSAGES[said], *([] if said == "launch" else [LATER])])
    code, _, reason = expected.partition(" after .*")
    assert line.startswith(f"failed, {code} after ")
    assert reason in line


def test_a_run_that_stopped_with_a_new_checkpoint_is_requeued(run: Path) -> None:
    assert conclude(run, STOPPED, [], before=20).endswith("of step 30; requeued")
    assert (run / "asked").read_text() == "requeue 7\n"


def test_a_job_that_may_not_be_requeued_says_how_to_go_on(run: Path) -> None:
    line = conclude(run, STOPPED, [], before=20, requeue=0)
    assert line.endswith("; this job may not be requeued, to go on submit the same again")
    assert not (run / "asked").exists()


def test_a_start_without_a_step_is_not_repeated_without_end(run: Path) -> None:
    line = conclude(run, STOPPED, [], before=30)
    assert line.startswith(f"failed, exit code {STOPPED} ")
    assert "no step was done before the time was up; give the job more time" in line
    assert not (run / "asked").exists()


def test_a_mistake_of_the_users_is_not_repeated(run: Path) -> None:
    line = conclude(run, 2, [MESSAGES["exit"]], limit=5)
    assert "failure" not in line
    assert not (run / "asked").exists()


def test_a_fault_that_preflight_finds_is_the_last_line(run: Path) -> None:
    (run / "srun").write_text(
        "#!/bin/sh\necho 'hs2pref preflight: error: gpu3: 1 of 9 checks failed: disk' >&2\nexit 1\n"
    )
    (run / "srun").chmod(0o755)
    program = f"""
RUN={run} LOGS={run}/logs/7 NODES=2 CONTAINER=none PYTHON=python
exec 3>/dev/null
preflight train rm a=b 2>{run}/logs/7/preflight.log
"""
    done = frame(program, SLURM_JOB_ID="7", PATH=f"{run}:{os.environ['PATH']}")
    assert " ended: failed, exit code 2 after 0:00:00, step 40 of 100, " in done
    assert done.endswith(f"; gpu3: 1 of 9 checks failed: disk; see {run}/logs/7/preflight.log\n")


def test_failures_in_a_row_are_counted_until_a_newer_checkpoint(run: Path) -> None:
    def fail() -> str:
        return conclude(run, 1, [MESSAGES["crash"]], limit=3).rpartition("; ")[2]

    assert fail() == "requeued, failure 1 of 3 in a row"
    assert fail() == "requeued, failure 2 of 3 in a row"
    later = RunState(**{**json.loads((run / "run_state.json").read_text()), "checkpoint_step": 50})
    write(run / "run_state.json", later)
    assert fail() == "requeued, failure 1 of 3 in a row"
    assert fail() == "requeued, failure 2 of 3 in a row"
    assert fail() == "not started again after 3 of 3 failures in a row"
    assert (run / "asked").read_text() == 4 * "requeue 7\n"


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ("none", "srun --nodes=1 -- python x y\\ z"),
        (
            "enroot_pyxis",
            "srun --nodes=1 --container-image=img --container-name=hs2pref_7 --container-writable "
            "--container-mounts={home},{here},/a:/b --container-workdir={here} --no-container-mount-home "
            "-- python x y\\ z",
        ),
        (
            "apptainer",
            "srun --nodes=1 -- apptainer exec --nv --bind {home},{here},/a:/b --pwd {here} img python x y\\ z",
        ),
    ],
)
def test_a_command_runs_in_its_container(container: str, expected: str) -> None:
    program = "inside --nodes=1 -- python x 'y z'; printf '%q ' \"${COMMAND[@]}\""
    variables = {"HS2PREF_IMAGE": "img", "HS2PREF_MOUNTS": "/a:/b", "SLURM_JOB_ID": "7", "CONTAINER": container}
    printed = frame(program, **variables).strip().replace("\\,", ",")
    assert printed == expected.format(home=ROOT, here=Path.cwd()).replace(" -- ", " ", 1)


def test_mpi_is_the_clusters_unless_it_is_named() -> None:
    program = 'CONTAINER=none; inside -- python; echo "${COMMAND[@]}"'
    assert frame(program, HS2PREF_MPI="pmix") == "srun --mpi=pmix python\n"
    assert frame(program) == "srun python\n"


def test_the_script_outside_of_a_job_says_how_to_submit_it() -> None:
    script = ROOT / "slurm" / "train_rm_70b.sh"
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "hs2pref: not in a SLURM job: submit this script with sbatch or `hs2pref submit`\n"
