"""The frame of the job scripts, where it needs no SLURM: how a start ended, what is said of it, what comes next."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    "beyond": "srun: error: gpu7: task 9: Exited with exit code 255",
    "memory": "srun: error: gpu7: task 9: Out Of Memory",
    "launch": "srun: error: Unable to create step for job 7: Job/step already completing or completed",
}
Done = subprocess.CompletedProcess[str]
LATER = "srun: error: gpu3: tasks 0-7: Exited with exit code 143"


def frame(program: str, **variables: str) -> str:
    """Standard output of `program` behind the frame's functions."""
    done = called(program, **variables)
    assert done.stderr == ""
    return done.stdout


def called(program: str, **variables: str) -> Done:
    environment = {"PATH": os.environ["PATH"], "HS2PREF_HOME": str(ROOT), **variables}
    return subprocess.run(
        ["bash", "-c", f"source {FRAME}\n{program}"], env=environment, capture_output=True, text=True, timeout=60
    )


def fake(folder: Path, name: str, program: str) -> None:
    """A command that stands in for one of SLURM's, in a folder for PATH."""
    (folder / name).write_text(f"#!/bin/bash\n{program}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run after step 40 of 100, saved at step 30, with the logs of job 7."""
    (tmp_path / "logs" / "7").mkdir(parents=True)
    state = StateFile(tmp_path, step=0, num_steps=100, checkpoint=None, started=0.0)
    state.note(phase="training", step=40, checkpoint="checkpoints/last", checkpoint_step=30)
    return tmp_path


def conclude(
    run: Path,
    code: int,
    said: list[str],
    *,
    before: int = 0,
    limit: int = 1,
    shown: str = "Requeue=1",
    container: str = "none",
    **variables: str,
) -> str:
    """The last line of a start that began after checkpoint `before` and ended with `code`; srun has `said` things."""
    (run / "logs" / "7" / "driver.log").write_text("".join(f"{line}\n" for line in said))
    program = f"""
scontrol() {{
  if [[ $1 == requeue ]]; then echo "requeue $2" >> {run}/asked; else echo "JobId=7 {shown} X"; fi
}}
RUN={run} LOGS={run}/logs/7 STOPPED_CODE={STOPPED} EXIT_CODE={code} TERMINATED=${{TERMINATED-}} NODES=2
CONTAINER={container} FIRST_CHECKPOINT_STEP={before} STEP=99999999 KILL_WAIT_S=2
exec 3>/dev/null
conclude
"""
    output = frame(program, SLURM_JOB_ID="7", HS2PREF_MAX_FAILURES=str(limit), **variables)
    return output.splitlines()[-1].partition(" ended: ")[2]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_syntax_is_right(script: Path) -> None:
    assert subprocess.run(["bash", "-n", script], capture_output=True).stderr == b""


def test_the_line_of_a_run_that_went_well(run: Path) -> None:
    line = re.sub(r"\d:\d\d:\d\d", "TIME", conclude(run, 0, []))
    assert (
        line == f"finished, exit code 0 after TIME, step 40 of 100, last checkpoint {run}/checkpoints/last of step 30"
    )
    assert not (run / "asked").exists()


@pytest.mark.parametrize(
    ("said", "message", "expected"),
    [
        ("exit", 'pairs.jsonl:76: not JSON ("x")', 'exit code 2 after .*; rank 9: pairs.jsonl:76: not JSON ("x")'),
        ("crash", "Traceback:\n  File\nValueError: a \\ and é", "exit code 1 after .*; rank 9: ValueError: a \\ and é"),
        ("crash", None, "exit code 1 after .*; rank 9 on gpu7: exit code 1, its output is in "),
        ("shell", None, "exit code 139 after .*; rank 9 on gpu7: killed by SIGSEGV"),
        ("beyond", None, "exit code 255 after .*; rank 9 on gpu7: exit code 255, its output is in "),
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
    line = conclude(run, STOPPED, [], before=20, shown="Requeue=0")
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


STARTED = "Requeue=1 StartTime=2026-11-21T09:00:00"
KILLED = "srun: error: gpu7: task 9: Exited with exit code 143"


@pytest.mark.parametrize("told", ["", "yes"])
def test_a_preempted_job_starts_again_and_that_counts_as_no_failure(run: Path, told: str) -> None:
    """With a GraceTime SLURM tells the steps alone."""
    line = conclude(run, 143, [KILLED], shown=f"{STARTED} PreemptTime=2026-11-21T10:00:00", TERMINATED=told)
    assert line.startswith("preempted, exit code 143 ")
    assert line.endswith(" of step 30; requeued")
    assert (run / "asked").read_text() == "requeue 7\n"
    assert not (run / "logs" / "failures").exists()


def test_a_preemption_of_an_earlier_start_explains_nothing(run: Path) -> None:
    shown = f"{STARTED} PreemptTime=2026-11-21T08:00:00"
    assert conclude(run, 1, [MESSAGES["crash"]], shown=shown).startswith("failed, ")
    assert conclude(run, 143, [KILLED], shown=f"{STARTED} PreemptTime=None").startswith("failed, ")


def test_a_job_that_is_cancelled_stays_so_even_where_it_has_saved(run: Path) -> None:
    for code in (143, STOPPED):
        line = conclude(run, code, [], limit=3, shown=f"{STARTED} Reason=None", TERMINATED="yes")
        assert line.startswith(f"cancelled, exit code {code} ")
        assert line.endswith("; to go on submit the same again")
    assert not (run / "asked").exists()


def test_a_run_that_the_time_limit_met_counts_as_a_failure(run: Path) -> None:
    def meet(restarts: str, code: int = 143) -> str:
        shown = f"{STARTED} Reason=TimeLimit Restarts={restarts}"
        return conclude(run, code, [KILLED], limit=2, shown=shown, TERMINATED="yes", SLURM_RESTART_COUNT=restarts)

    line = meet("0")
    assert line.startswith("the time limit came before the run had saved, exit code 143 ")
    assert line.endswith(" of step 30; requeued, failure 1 of 2 in a row")
    assert (run / "asked").read_text() == "requeue 7\n"
    assert meet("1").endswith("; not started again after 2 of 2 failures in a row")
    assert (run / "asked").read_text() == "requeue 7\n"


def test_a_run_that_has_saved_when_the_time_limit_comes_has_stopped_in_time(run: Path) -> None:
    line = conclude(run, STOPPED, [], shown=f"{STARTED} Reason=TimeLimit", TERMINATED="yes")
    assert line.startswith(f"stopped in time, exit code {STOPPED} ")
    assert line.endswith("; requeued")


def test_a_job_that_slurm_itself_starts_again_is_left_to_it(run: Path) -> None:
    for told in ("", "yes"):
        line = conclude(run, 143, [KILLED], limit=3, shown=f"{STARTED} Restarts=1", TERMINATED=told)
        assert line.startswith("ended by SLURM, exit code 143 ")
        assert line.endswith("; SLURM starts it again")
    assert not (run / "asked").exists()


def test_a_start_that_is_told_twice_counts_once(run: Path) -> None:
    """While a step that was told to end is still alive its end is told, and again once it is gone."""
    program = f"RUN={run} CHECKPOINT_STEP=30; in_a_row failures; in_a_row failures; SLURM_RESTART_COUNT=1"
    assert frame(f"{program}; in_a_row failures", SLURM_JOB_ID="7").split() == ["1", "1", "2"]


def preflight(run: Path, said: str, *, limit: int = 1, shown: str = "Requeue=1") -> str:
    """The last line of a start whose preflight says `said`."""
    fake(run, "srun", f"{said}\nexit 1")
    fake(run, "scontrol", f'[ $1 = requeue ] && echo "$*" >> {run}/asked; echo "JobId=7 {shown} X"')
    log = run / "logs" / "7" / "preflight.log"
    program = STEP.format(run=run) + f"CONTAINER=none PYTHON=python; preflight train rm a=b 2>{log}"
    done = frame(program, SLURM_JOB_ID="7", HS2PREF_MAX_FAILURES=str(limit), PATH=f"{run}:{os.environ['PATH']}")
    return done.splitlines()[-1].partition(" ended: ")[2]


def failed_checks(*names: str) -> str:
    return f"echo 'hs2pref preflight: error: gpu3: {len(names)} of 9 checks failed: {', '.join(names)}' >&2"


def test_a_fault_that_preflight_finds_is_the_last_line(run: Path) -> None:
    line = preflight(run, failed_checks("disk", "gpus"), limit=2)
    assert re.match(r"failed, exit code 2 after \d:\d\d:\d\d, step 40 of 100, ", line)
    assert line.endswith(f"; gpu3: 2 of 9 checks failed: disk, gpus; see {run}/logs/7/preflight.log")
    assert not (run / "asked").exists()


def test_a_node_that_preflight_finds_broken_is_worth_another_start(run: Path) -> None:
    line = preflight(run, failed_checks("gpus", "rendezvous"), limit=2)
    assert line.startswith("failed, exit code 1 after ")
    assert line.endswith(
        "; gpu3: 2 of 9 checks failed: gpus, rendezvous; to leave it out: sbatch --exclude=gpu3; "
        "requeued, failure 1 of 2 in a row"
    )
    assert (run / "asked").read_text() == "requeue 7\n"


MISSING = "echo 'hs2pref preflight: error: gpu2: the run folder is not here, /run is missing; every node must' >&2"


@pytest.mark.parametrize(
    "said",
    [failed_checks("gpus", "cuda", "imports"), failed_checks("paths", "shared"), MISSING,
     failed_checks("disk (no answer)", "data (no answer)", "gpus")],
)  # fmt: skip
def test_what_only_a_node_can_lack_is_worth_another_start(run: Path, said: str) -> None:
    assert preflight(run, said, limit=2).endswith("; requeued, failure 1 of 2 in a row")


def test_no_node_is_left_out_where_none_is_to_blame(run: Path) -> None:
    assert "--exclude" not in preflight(run, failed_checks("rendezvous (no answer)", "shared"))
    everywhere = [failed_checks("imports").replace("gpu3", node) for node in ("gpu1", "gpu2")]
    assert "--exclude" not in preflight(run, "; ".join(everywhere))
    assert preflight(run, failed_checks("disk", "gpus (no answer)")).startswith("failed, exit code 2 ")


def test_a_preflight_that_cannot_be_started_is_told_in_slurms_words(run: Path) -> None:
    line = preflight(run, "echo 'slurmstepd: error: pyxis: no such image' >&2")
    assert line.endswith(
        f"; pyxis: no such image; see {run}/logs/7/preflight.log; not started again after 1 of 1 failures in a row"
    )


def test_failures_in_a_row_are_counted_until_a_newer_checkpoint(run: Path) -> None:
    starts = itertools.count()

    def fail() -> str:
        line = conclude(run, 1, [MESSAGES["crash"]], limit=3, SLURM_RESTART_COUNT=str(next(starts)))
        return line.rpartition("; ")[2]

    assert fail() == "requeued, failure 1 of 3 in a row"
    assert fail() == "requeued, failure 2 of 3 in a row"
    later = RunState(**{**json.loads((run / "run_state.json").read_text()), "checkpoint_step": 50})
    write(run / "run_state.json", later)
    assert fail() == "requeued, failure 1 of 3 in a row"
    assert fail() == "requeued, failure 2 of 3 in a row"
    assert fail() == "not started again after 3 of 3 failures in a row"
    assert (run / "asked").read_text() == 4 * "requeue 7\n"


ENTER = f"{ROOT}/slurm/frame/enter.sh"


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ("none", "srun --export=ALL --nodes=1 -- {enter} python x y\\ z"),
        (
            "enroot_pyxis",
            "srun --export=ALL --nodes=1 --container-image=img --container-name=hs2pref_7_2 --container-writable "
            "--container-mounts={home},{here},/a:/b --container-workdir={here} "
            "--container-env=MASTER_ADDR,MASTER_PORT,NCCL_NET --no-container-mount-home --no-container-entrypoint "
            "-- {enter} python x y\\ z",
        ),
        (
            "apptainer",
            "srun --export=ALL --nodes=1 -- apptainer exec --nv --bind {home},{here},/a:/b --pwd {here} img "
            "{enter} python x y\\ z",
        ),
    ],
)
def test_a_command_runs_in_its_container(tmp_path: Path, container: str, expected: str) -> None:
    (tmp_path / "cluster.sh").write_text("export HS2PREF_PYTHON=python\nexport NCCL_NET=IB\n")
    program = "inside --nodes=1 -- python x 'y z'; printf '%q ' \"${COMMAND[@]}\""
    variables = {"HS2PREF_IMAGE": "img", "HS2PREF_MOUNTS": "/a:/b", "SLURM_JOB_ID": "7", "CONTAINER": container}
    variables["SLURM_RESTART_COUNT"] = "2"
    variables["HS2PREF_CLUSTER_FILE"] = str(tmp_path / "cluster.sh")
    printed = frame(program, **variables).strip().replace("\\,", ",")
    assert printed == expected.format(home=ROOT, here=Path.cwd(), enter=ENTER).replace(" -- ", " ", 1)


def test_mpi_is_the_clusters_unless_it_is_named() -> None:
    program = 'CONTAINER=none; inside -- python; echo "${COMMAND[@]}"'
    assert frame(program, HS2PREF_MPI="pmix") == f"srun --export=ALL --mpi=pmix {ENTER} python\n"
    assert frame(program) == f"srun --export=ALL {ENTER} python\n"


def test_neighbouring_ranks_share_a_node_and_a_socket() -> None:
    program = 'CONTAINER=none NODES=2 DEVICES=8 LOGS=/l; on_all_nodes python; printf "%s\\n" "${COMMAND[@]}"'
    words = frame(program, SLURM_CPUS_ON_NODE="64").split()
    assert {"--distribution=block:block", "--ntasks=16", "--ntasks-per-node=8", "--cpus-per-task=8"} < {*words}


def test_a_percent_sign_of_the_run_folder_is_no_pattern() -> None:
    program = 'CONTAINER=none NODES=2 DEVICES=8 LOGS="/100%n a"; on_all_nodes python; printf "%s\\n" "${COMMAND[@]}"'
    program += '; on_each_node "$LOGS/p.log" python; printf "%s\\n" "${COMMAND[@]}"'
    words = frame(program, SLURM_CPUS_ON_NODE="64", PREFLIGHT_LIMIT_S="9").splitlines()
    assert {"--output=/100%%n a/node-%n-%N.log", "--output=/100%%n a/p.log"} < {*words}


def entered(program: str, **variables: str) -> Done:
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(
        [ENTER, "bash", "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_repository_goes_before_the_packages_of_an_image() -> None:
    assert entered("echo $PYTHONPATH", PYTHONPATH="/image").stdout == f"{ROOT}:/image\n"


def test_a_node_that_does_not_see_the_run_folder_starts_nothing(tmp_path: Path) -> None:
    done = entered("echo started", HS2PREF_LOGS=str(tmp_path / "7"), SLURMD_NODENAME="gpu3")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"hs2pref preflight: error: gpu3: the run folder is not here, {tmp_path}/7 is missing"
    )
    (tmp_path / "7").mkdir()
    assert entered("echo started", HS2PREF_LOGS=str(tmp_path / "7")).stdout == "started\n"


def test_containers_are_removed_before_the_job_goes_on_elsewhere_and_at_its_end(run: Path) -> None:
    fake(run, "srun", f'echo "${{*#*slurm/frame/}}" >> {run}/sruns')
    fake(run, "squeue", "printf '7\\n8\\n'")
    variables = {"PATH": f"{run}:{os.environ['PATH']}", "SLURM_JOB_NUM_NODES": "2"}
    conclude(run, 0, [], container="none", **variables)
    assert not (run / "sruns").exists()
    conclude(run, 0, [], container="enroot_pyxis", **variables)
    conclude(run, STOPPED, [], before=20, container="enroot_pyxis", **variables)
    assert (run / "sruns").read_text() == 2 * "--export=ALL --nodes=2 --ntasks=2 --ntasks-per-node=1 remove.sh 7 7 8\n"
    conclude(run, 143, [], container="enroot_pyxis", TERMINATED="yes", **variables)  # no step can be started
    assert len((run / "sruns").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("queued", "removed"),
    [(["7", "8"], ["7_0", "7_1", "6_0"]), ([], ["7_0", "7_1"]), (["7", "6"], ["7_0", "7_1", "8_3"])],
)
def test_containers_of_jobs_that_may_still_use_them_stay(tmp_path: Path, queued: list[str], removed: list[str]) -> None:
    names = [f"pyxis_hs2pref_{name}" for name in ("7_0", "7_1", "6_0", "8_3")]
    listed = "\\n".join([*names, "pyxis_mine", "hs2pref_6_0"])
    fake(tmp_path, "enroot", f"[ $1 = list ] && printf '{listed}\\n' || echo \"$*\"")
    words = [ROOT / "slurm" / "frame" / "remove.sh", "7", *queued]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:-1] == [f"remove -f pyxis_hs2pref_{name}" for name in removed]


def checked(folder: Path, srun: str, **variables: str) -> Done:
    """The check of job 7 on gpu1, with a stand-in for srun; RUN at its end."""
    fake(folder, "srun", srun)
    fake(folder, "scontrol", f'[ $1 = requeue ] && echo "$*" >> {folder}/asked; echo "JobId=7 Requeue=1 ${{SHOWN-}} X"')
    program = "CONTAINER=none PYTHON=py KILL_WAIT_S=2 CHECK_LIMIT_S=${LIMIT:-60}; note_early_usr1; note_term"
    given = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "gpu1", "PATH": f"{folder}:{os.environ['PATH']}", **variables}
    return called(f"{program}; export FRAME=$$; check train rm; echo $RUN", **given)


FACTS = {"RUN": "/a", "NODES": 2, "DEVICES": 1, "STOPPED_CODE": STOPPED, "RESUMES": "yes"}
ANSWER = "; ".join(f"echo 'hs2pref-job: {json.dumps(name)}: {json.dumps(fact)}'" for name, fact in FACTS.items())


def test_what_an_image_prints_before_the_answer_is_not_run(tmp_path: Path) -> None:
    done = checked(tmp_path, f"echo 'NVIDIA (Release 25.02)'; echo 'touch banner'; {ANSWER}; echo")
    assert (done.stdout, done.stderr) == ("/a\n", "")


def test_a_configuration_that_cannot_run_ends_the_job(tmp_path: Path) -> None:
    done = checked(tmp_path, 'echo \'hs2pref-job: "die": "no $(key)"\'', HS2PREF_MAX_FAILURES="3")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "hs2pref: no $(key)\n")
    assert not (tmp_path / "asked").exists()


PYXIS = 'echo "slurmstepd: error: pyxis: couldn\'t start container" >&2; exit 1'


@pytest.mark.parametrize(
    ("srun", "why"),
    [
        ("echo a banner", "is it the Python of training?"),
        (f"echo '{MESSAGES['crash']}' >&2; exit 1", "is it the Python of training?"),
        (f"{ANSWER}; exit 1", "is it the Python of training?"),
        (PYXIS, "pyxis: couldn't start container"),
        ("exec sleep 60", "no answer in 1 s"),
        (ANSWER.replace("85", "x[$(touch asked)]"), "is it the Python of training?"),
    ],
)
def test_a_first_node_without_an_answer_is_worth_another_start(run: Path, srun: str, why: str) -> None:
    """The count is kept in the run folder, which `hs2pref submit` has named."""
    (run / "logs" / "job.lock").write_text("7\n")
    given = {"HS2PREF_RUN": str(run), "HS2PREF_MAX_FAILURES": "2", "LIMIT": "1"}
    first, second = (checked(run, srun, SLURM_RESTART_COUNT=count, **given) for count in ("4", "5"))
    said = f"hs2pref: py cannot read the configuration on gpu1: {why}; "
    assert (first.returncode, first.stdout) == (1, "")
    assert first.stderr.splitlines()[-1] == said + "requeued, failure 1 of 2 in a row"
    assert second.stderr.splitlines()[-1] == said + "not started again after 2 of 2 failures in a row"
    assert (run / "asked").read_text() == "requeue 7\n"
    assert not (run / "logs" / "job.lock").exists()


def test_without_a_run_folder_slurms_count_of_starts_stands_for_that_of_failures(tmp_path: Path) -> None:
    first, second = (
        checked(tmp_path, PYXIS, HS2PREF_MAX_FAILURES="2", SLURM_RESTART_COUNT=count) for count in ("0", "1")
    )
    assert first.stderr.endswith("; requeued, failure 1 of 2 in a row\n")
    assert second.stderr.endswith("; not started again after 2 of 2 failures in a row\n")


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("Reason=None", "cancelled, while the job was at its check; to go on submit the same again"),
        (
            "Reason=TimeLimit",
            "the time limit came before the run had saved, while the job was at its check; "
            "requeued, failure 1 of 2 in a row",
        ),
    ],
)
def test_a_job_that_is_told_to_end_in_its_check_says_so(run: Path, shown: str, said: str) -> None:
    (run / "logs" / "job.lock").write_text("6\n")
    srun = "sleep 0.5; kill -TERM $FRAME; exec sleep 60"
    given = {"HS2PREF_MAX_FAILURES": "2", "HS2PREF_RUN": str(run), "SHOWN": f"StartTime=2026-11-21T09:00:00 {shown}"}
    done = checked(run, srun, **given)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (143, f"hs2pref: {said}")
    assert (run / "logs" / "job.lock").read_text() == "6\n"  # another job's


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SLURM_JOB_NUM_NODES": "1"}, "it has 1 nodes, trainer.num_nodes=2"),
        ({"SLURM_JOB_END_TIME": "1"}, " s left, all of which exp_manager.save_margin_s=300 keeps for saving"),
        ({}, ""),
        ({"SLURM_JOB_END_TIME": ""}, ""),
        ({"HS2PREF_NODES": ""}, ""),
    ],
)
def test_an_allocation_that_does_not_fit_is_told_before_srun(given: dict[str, str], said: str) -> None:
    of_run = {"HS2PREF_NODES": "2", "HS2PREF_MARGIN_S": "300"}
    job = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_END_TIME": "9999999999"}
    done = called("refuse_other_allocation", **{**of_run, **job, **given})
    assert done.returncode == (2 if said else 0)
    assert done.stderr.endswith(f"{said}\n" if said else "")
    assert done.stderr.startswith("hs2pref: the job does not fit the configuration: it has " if said else "")


def test_every_line_of_the_answer_is_marked() -> None:
    words = [sys.executable, "-m", "nemo_hs2pref.cli.job", "train", "rm", "model.optim.lrr=1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == 'hs2pref-job: "die": "unknown key model.optim.lrr; did you mean model.optim.lr?"\n'


@pytest.mark.parametrize("container", ["none", "enroot_pyxis", "apptainer"])
def test_the_shell_into_the_job_is_a_script_that_starts_one_task(tmp_path: Path, container: str) -> None:
    program = f"RUN={tmp_path} CONTAINER={container}; write_attach"
    frame(program, SLURM_JOB_ID="7", SLURMD_NODENAME="gpu1", HS2PREF_IMAGE="a b", HS2PREF_MOUNTS="/it's:/b")
    attach = tmp_path / "attach.sh"
    assert subprocess.run(["bash", "-n", attach], capture_output=True).stderr == b""
    fake(tmp_path, "srun", 'printf "%s\\n" "$@"')
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_NTASKS_PER_NODE": "8"}
    done = subprocess.run([attach, "gpu2"], env=environment, capture_output=True, text=True, timeout=60)
    words = done.stdout.splitlines()
    assert {"--nodelist=gpu2", "--jobid=7", "--overlap", "--ntasks=1", "--ntasks-per-node=1"} <= set(words)
    assert words[-2:] == [ENTER, "bash"]


# --- settings ---


def settings(program: str, squeue: str, tmp_path: Path, **variables: str) -> str:
    fake(tmp_path, "squeue", squeue)
    fake(tmp_path, "scontrol", "echo gpu1")
    fake(tmp_path, "getent", "exit 0")
    defaults = {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "gpu1",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TZ": "UTC",
    }
    return frame(f"read_settings; {program}", **(defaults | variables))


@pytest.mark.parametrize(
    ("squeue", "end"),
    [
        ('[ -z "$SLURM_TIME_FORMAT" ] && echo 2026-11-21T10:00:00', "1795255200"),
        ("echo 'squeue: error: busy' >&2; exit 1", ""),
        ("echo N/A", ""),
    ],
)
def test_the_end_of_the_job_is_what_squeue_says_and_nothing_where_it_fails(
    tmp_path: Path, squeue: str, end: str
) -> None:
    said = settings("echo ${SLURM_JOB_END_TIME-}", squeue, tmp_path, SLURM_TIME_FORMAT="relative")
    assert said == f"{end}\n"


def test_a_job_that_another_job_submitted_forgets_its_meeting_point_and_end(tmp_path: Path) -> None:
    program, ours = "echo $MASTER_ADDR $MASTER_PORT ${SLURM_JOB_END_TIME-}", {"MASTER_ADDR": "gpu9", "MASTER_PORT": "5"}
    ours["SLURM_JOB_END_TIME"] = "1"
    assert settings(program, "exit 1", tmp_path, HS2PREF_JOB="6", **ours) == "gpu1 20007\n"
    assert settings(program, "exit 1", tmp_path, HS2PREF_JOB="7", **ours) == "gpu9 5 1\n"


def test_a_job_forgets_how_the_step_that_submitted_it_was_bound(tmp_path: Path) -> None:
    names = ("CPU_BIND", "CPU_BIND_LIST", "MEM_BIND", "GPU_BIND", "GPUS_PER_TASK", "NTASKS_PER_GPU", "TRES_PER_TASK")
    inherited = {f"SLURM_{name}": "1" for name in (*names, "MEM_PER_CPU")}
    program = "compgen -e | grep -E '^SLURM_.*(BIND|PER)'"
    assert settings(program, "exit 1", tmp_path, **inherited) == "SLURM_MEM_PER_CPU\n"
    assert settings(program, "exit 1", tmp_path, **inherited, SLURM_MEM_PER_NODE="9") == "SLURM_MEM_PER_NODE\n"


def test_a_meeting_point_that_is_set_stays(tmp_path: Path) -> None:
    program = "echo $MASTER_ADDR $MASTER_PORT"
    assert settings(program, "exit 1", tmp_path) == "gpu1 20007\n"
    assert settings(program, "exit 1", tmp_path, MASTER_ADDR="10.0.0.1", MASTER_PORT="5") == "10.0.0.1 5\n"


@pytest.mark.parametrize(("processors", "cores"), [(16, 2), (24, 2), (40, 4), (8, 1), (4, 1)])
def test_a_process_has_an_even_number_of_cores(processors: int, cores: int) -> None:
    assert frame("DEVICES=8; cores_of_a_process", SLURM_CPUS_ON_NODE=str(processors)) == f"{cores}\n"


# --- steps and signals ---

STEP = """
RUN={run} LOGS={run}/logs/7 NODES=2 DEVICES=1 KILL_WAIT_S=2 EXIT_CODE=0 STOPPED_CODE=85 FIRST_CHECKPOINT_STEP=0
exec 3>/dev/null
note_early_usr1
note_term
"""


def test_a_stop_is_handed_on_when_all_processes_have_begun_and_not_before(run: Path) -> None:
    """srun that gets USR1 before it expects it ends with 138, and the run with it."""
    fake(
        run,
        "srun",
        f"""
trap 'echo early; exit 138' USR1
echo '0: process has begun' > {run}/logs/7/node-0-gpu1.log
sleep 2.5 & wait
trap 'echo asked; exit {STOPPED}' USR1
echo '1: process has begun' >> {run}/logs/7/node-0-gpu1.log
for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 1 & wait; done
""",
    )
    program = STEP.format(run=run) + "kill -USR1 $$; CONTAINER=none\ntrain() { :; }\n"
    program += (
        "COMMAND=(srun); start_step; trap ask_to_stop USR1; [[ -z $ASKED ]] || ask_to_stop; await_step; echo $EXIT_CODE"
    )
    said = frame(program, PATH=f"{run}:{os.environ['PATH']}").splitlines()
    assert said[1:] == ["asked", str(STOPPED)]


def test_a_step_that_ends_at_the_moment_of_term_has_a_code(tmp_path: Path) -> None:
    """In about every third of these shells bash 5.2 says -1."""
    fake(tmp_path, "step", "trap 'exit 143' TERM; sleep 9 > /dev/null 2>&1 & wait")
    once = f"""
source {FRAME}
KILL_WAIT_S=4
note_term
COMMAND=({tmp_path}/step); start_step
(sleep 1; kill -TERM $STEP $$) & disown
await_step
echo $EXIT_CODE
"""
    (tmp_path / "once.sh").write_text(once)
    done = called(f"for i in {{1..12}}; do bash {tmp_path}/once.sh & done; wait")
    assert done.stdout.split() == 12 * ["143"]


def test_a_rank_that_ends_at_the_moment_of_term_has_a_code(tmp_path: Path) -> None:
    fake(tmp_path, "rank", "trap 'exit 143' TERM; sleep 9 > /dev/null 2>&1 & wait")
    task = ROOT / "slurm" / "frame" / "task.sh"
    once = f"{task} {tmp_path}/rank & sleep 1.5; kill -TERM $(pgrep -P $!) $!; wait $!; echo $?"
    (tmp_path / "once.sh").write_text(f"export SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_PROCID=$1\n{once}\n")
    done = called(f"for i in {{1..12}}; do bash {tmp_path}/once.sh $i & done; wait")
    assert done.stdout.split() == 12 * ["143"]


def test_a_job_that_is_cancelled_in_preflight_says_so(run: Path) -> None:
    fake(run, "srun", "kill -TERM $FRAME; sleep 0.5; exit 143")
    fake(run, "scontrol", "echo JobId=7")
    (run / "logs" / "7" / "driver.log").touch()
    program = STEP.format(run=run) + "export FRAME=$$; CONTAINER=none PYTHON=python; preflight train rm a=b"
    said = frame(program, SLURM_JOB_ID="7", PATH=f"{run}:{os.environ['PATH']}")
    assert " ended: cancelled, exit code 143 after " in said


def test_a_job_that_is_preempted_in_preflight_says_so(run: Path) -> None:
    (run / "logs" / "7" / "driver.log").touch()
    line = preflight(run, "exit 143", shown=f"{STARTED} PreemptTime=2026-11-21T10:00:00")
    assert line.startswith("preempted, exit code 143 after ")
    assert line.endswith("; requeued")


# --- text that is not a number ---

COMMAND = "RUN[$(touch {})]0"


def test_text_in_the_run_folder_and_around_the_job_is_not_computed(run: Path) -> None:
    """In arithmetic bash runs what stands in an index."""
    trace = run / "trace"
    bad = COMMAND.format(trace)
    control = subprocess.run(["bash", "-c", "((x))"], env={"PATH": os.environ["PATH"], "x": bad}, capture_output=True)
    assert control.returncode and trace.exists(), "the attack works where text is computed"
    trace.unlink()
    state = dict.fromkeys(("step", "num_steps", "checkpoint_step"), bad) | {"checkpoint": "$(touch trace)"}
    (run / "run_state.json").write_text(json.dumps(state, indent=1))
    for name in ("failures", "starts"):
        (run / "logs" / name).write_text(f"7 {bad} {bad} {bad}\n")
    said = f"srun: error: gpu7: task 9: Exited with exit code {bad}"
    variables: Any = dict.fromkeys(("SLURM_RESTART_COUNT", "SLURM_JOB_END_TIME", "limit"), bad)
    shown = f"Restarts={bad}".replace("$", "\\$")  # it comes into a program
    lines = [conclude(run, code, [said], shown=shown, **variables) for code in (1, 2, STOPPED)]
    assert all("step 0 of ?, no checkpoint" in line for line in lines)
    around = {"HS2PREF_NODES": bad, "HS2PREF_MARGIN_S": bad, "SLURM_JOB_NUM_NODES": bad, "SLURM_JOB_END_TIME": bad}
    assert called("refuse_other_allocation", **around).returncode == 0
    called(f"RUN={run} LOGS={run}/logs/7 NODES=1 DEVICES=2; cores_of_a_process; exec 3>&1; warn_of_short_time; begin; "
           "export_rendezvous; have_all_begun", **around, SLURM_CPUS_ON_NODE=bad, SLURM_JOB_ID=bad)  # fmt: skip
    assert start(run, "yes").stdout == "0\n"
    assert not trace.exists()


def test_text_of_the_run_folder_moves_no_cursor_and_makes_no_line(run: Path) -> None:
    state = {"step": 1, "checkpoint_step": 3, "checkpoint": "\x1b[2J\u202eé\x9b\n2026 ended: finished"}
    (run / "run_state.json").write_text(json.dumps(state, indent=1))
    line = conclude(run, 0, [])
    assert line.endswith("/?[2J?é? 2026 ended: finished of step 3")
    done = called(f'die "$(value {run}/run_state.json checkpoint)"')
    assert done.stderr == "hs2pref: ?[2J?é? 2026 ended: finished\n"


GIVEN = re.compile(r"\$\(whole .*|\$\(\(.*|\d+;?|\$\?|$")  # what a variable that is computed with may be given
SET_BY_BASH = {"SECONDS", "EUID"}
CALCULATED = re.compile(r"\(\((?P<sum>.*?)\)\)|\[\[[^]]* (?P<left>\S+) -(eq|ne|lt|gt|le|ge) (?P<right>\S+)")
LOOKALIKES = re.compile(r"\blet |\bdeclare|\blocal -|printf -v|\[ -v|test -v|\$\{\w+:\$|\beval\b|\w\[\$?[A-Za-z]")
CODE = {path: re.sub(r"(?m)(^|\s)#.*", "", path.read_text()) for path in SCRIPTS}


def faults(name: str, seen: frozenset[str] = frozenset()) -> list[str]:
    """What a variable of the frame is given that may not be a whole number."""
    given = re.findall(rf"(?:^|[\s;(]){name}=(\$\(.*|\S*)", "\n".join(CODE.values()), re.MULTILINE)
    found = [] if given or name in SET_BY_BASH else [f"{name} is set nowhere"]
    for value in given:
        if other := re.fullmatch(r"\$(\w*[A-Za-z_]\w*);?", value):
            found += [] if other[1] in seen else faults(other[1], seen | {name})
        elif not GIVEN.match(value):
            found.append(f"{name}={value}")
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_only_whole_numbers_come_into_arithmetic(script: Path) -> None:
    assert not LOOKALIKES.findall(CODE[script])
    for found in CALCULATED.finditer(CODE[script]) if script.name != "numbers.sh" else ():
        text = found["sum"] or f"{found['left']} {found['right']}"
        assert not re.search(r"`|\$\(|\$\{?[0-9@*]", text), f"{found[0]}: compute with a variable that `whole` has set"
        names = set(re.findall(r"[A-Za-z_]\w*", text.replace("$$", "").replace("$#", "")))
        assert not [fault for name in names for fault in faults(name)], found[0]


# --- the start ---


@pytest.mark.parametrize(("left", "warns"), [(600, True), (3600, False)])
def test_a_job_shorter_than_the_lead_of_its_signal_is_warned(tmp_path: Path, left: int, warns: bool) -> None:
    script = tmp_path / "job.sh"
    script.write_text(
        f"#SBATCH --signal=B:USR1@600\nsource {FRAME}\nexec 3>/dev/null\n"
        f"SLURM_JOB_END_TIME=$(($(date +%s) + {left}))\nwarn_of_short_time\n"
    )
    environment = {"PATH": os.environ["PATH"], "HS2PREF_HOME": str(ROOT)}
    done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert (" s are left, and SLURM asks to stop up to 660 s before the end" in done.stdout) is warns


def start(
    run: Path, resumes: str, *, queued: str = "", job: str = "7", restarts: int = 0, squeue: str | None = None
) -> Done:
    fake(run, "squeue", squeue or f"printf '%s\\n' {queued} {job}")
    program = f"""
RUN={run} RESUMES={resumes} NODES=1 DEVICES=1 CONTAINER=none GO_ON=() KILL_WAIT_S=2 ANSWER_PAUSE_S=0
note_term
lock_run
exec 3>/dev/null
begin
echo $FIRST_CHECKPOINT_STEP "${{GO_ON[@]}}"
"""
    given = {"SLURM_JOB_ID": job, "SLURM_RESTART_COUNT": str(restarts)}
    return called(program, PATH=f"{run}:{os.environ['PATH']}", **given)


def test_a_run_begins_anew_once_in_a_job(run: Path) -> None:
    assert start(run, "yes").stdout == "30\n"
    state = (run / "run_state.json").read_text()
    assert start(run, "no").stdout == "0\n"
    assert start(run, "no").stdout == "0\n"  # a requeue before the first checkpoint
    (run / "run_state.json").write_text(state)
    assert start(run, "no").stdout == "30 exp_manager.resume_if_exists=true\n"
    assert start(run, "no", job="8").stdout == "0\n"


def test_a_second_job_on_a_run_folder_ends_at_once(run: Path) -> None:
    assert start(run, "yes").returncode == 0
    second = start(run, "yes", queued="7", job="8")
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.startswith(f"hs2pref: job 7 works in {run}, or waits to go on; scancel it")
    assert start(run, "yes", queued="7").returncode == 0
    assert start(run, "yes", queued="", job="8").returncode == 0
    assert [path.name for path in (run / "logs").glob("job.lock*")] == ["job.lock"]


@pytest.mark.parametrize("squeue", ["exit 1", "exit 0", "echo 17 >&2; exit 1"])
def test_a_queue_that_does_not_answer_lets_nobody_in(run: Path, squeue: str) -> None:
    """This job is in the queue: an answer without it is none."""
    (run / "logs" / "job.lock").write_text("7\n")
    done = start(run, "yes", job="8", squeue=squeue)
    assert done.returncode == 2
    assert done.stderr == (
        f"hs2pref: squeue does not answer, and job 7, which had {run}, may still work in it; submit this again later\n"
    )
    assert (run / "logs" / "job.lock").read_text() == "7\n"
    assert start(run, "yes", job="7", squeue=squeue).returncode == 0


@pytest.mark.parametrize("content", ["7\n", "", "\0\0\0", "RUN[$(touch x)]0\n"])
def test_one_of_three_jobs_takes_a_lock_that_nobody_holds(run: Path, content: str) -> None:
    """The pauses of squeue let them meet at every place; before, all took it."""
    fake(run, "squeue", "sleep 0.0$((RANDOM % 5)); printf '%s\\n' 1 2 3")
    once = f"source {FRAME}; RUN={run}; SLURM_JOB_ID=$1; sleep 0.0$((RANDOM % 9)); lock_run && echo $1"
    (run / "once.sh").write_text(once)
    lock = run / "logs" / "job.lock"
    for _ in range(10):
        lock.write_text(content)
        all_at_once = f"for i in 1 2 3; do bash {run}/once.sh $i & done; wait"
        done = called(all_at_once, PATH=f"{run}:{os.environ['PATH']}")
        assert done.stdout == lock.read_text() and int(done.stdout) in (1, 2, 3)
        assert len(re.findall(rf"^hs2pref: job [123] works in {run}, ", done.stderr, re.MULTILINE)) == 2
        assert [path.name for path in (run / "logs").glob("job.lock*")] == ["job.lock"]


def test_a_job_that_died_while_it_took_the_lock_stops_no_other(run: Path) -> None:
    (run / "logs" / "job.lock").write_text("5\n")
    (run / "logs" / "job.lock.after-5").write_text("6\n")
    assert start(run, "yes").returncode == 0
    assert [path.read_text() for path in (run / "logs").glob("job.lock*")] == ["7\n"]


def test_starts_that_bring_nothing_do_not_go_on_for_ever(run: Path) -> None:
    for restarts in range(20):
        assert start(run, "yes", restarts=restarts).stdout == "30\n"
    last = start(run, "yes", restarts=20)
    assert last.returncode == 2
    assert "; 20 starts in a row brought no newer checkpoint; to go on submit the same again" in last.stdout


def test_the_script_outside_of_a_job_says_how_to_submit_it() -> None:
    script = ROOT / "slurm" / "train_rm_70b.sh"
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "hs2pref: not in a SLURM job: submit this script with sbatch or `hs2pref submit`\n"
