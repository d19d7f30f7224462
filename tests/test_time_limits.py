"""Lengths of time, the wall clock, signals that ask for a stop, and the ranks of an srun step; no NeMo, no SLURM."""

import math
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemo_hs2pref.cli import main, processes
from nemo_hs2pref.cli.train import must_be_started
from nemo_hs2pref.config.durations import format_duration, parse_duration
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.runtime.process import slurm_step, stop_signals, wall_clock
from nemo_hs2pref.runtime.process.wall_clock import WallClock, end_of_run
from nemo_hs2pref.runtime.run.run_monitor import TIME_LIMIT, RunMonitor

DAY, HOUR, MINUTE = 86400, 3600, 60
TIME_LIMIT_S = 60

# --- lengths of time ---


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90 * MINUTE),
        ("90:30", 90 * MINUTE + 30),
        ("1:30:00", 1.5 * HOUR),
        ("2-4", 2 * DAY + 4 * HOUR),
        ("2-4:30", 2 * DAY + 4.5 * HOUR),
        ("2-04:30:15", 2 * DAY + 4.5 * HOUR + 15),
        ("02:04:30:15", 2 * DAY + 4.5 * HOUR + 15),  # NeMo's
        (" 0:55\n", 55),  # as squeue prints it
        ("UNLIMITED", math.inf),
        ("infinite", math.inf),
    ],
)
def test_every_form_of_slurm_and_nemo_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "4h", "1:", "-4", "1-", "1-2-3", "1-2:3:4:5", "1:2:3:4:5", "1.5", "INVALID"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a length of time; expected minutes"):
        parse_duration(text)


@given(st.integers(0, 400 * DAY))
def test_a_length_that_is_printed_is_read_as_the_same(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_no_limit_is_printed_as_slurm_does() -> None:
    assert format_duration(math.inf) == "UNLIMITED"
    assert format_duration(DAY + HOUR + MINUTE + 1) == "1-01:01:01"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["exp_manager.max_time_per_run=4h"], "exp_manager.max_time_per_run: '4h' is not a length of time"),
        (["exp_manager.max_time_per_run=0:04:00"], "is 240 s, of which exp_manager.save_margin_s=300"),
        (["exp_manager.save_margin_s=-1"], "exp_manager.save_margin_s=-1: expected seconds, 0 or more"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_on_the_login_node(
    overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["data.dir=d", "pretrained_checkpoint.restore_from_path=p", "exp_manager.explicit_log_dir=l"]
    assert main(["train", "rm", "--print-config", *places, *overrides]) == 2
    assert message in capsys.readouterr().err


# --- the wall clock ---


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A system's clock that goes on when it is told to; it starts at 1000 s."""
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def go_on(seconds: float) -> None:
        now[0] += seconds

    return go_on


def test_a_run_ends_while_one_more_step_and_the_save_still_fit(tick: Callable[[float], None]) -> None:
    clock = WallClock(1100.0, margin_s=20)
    assert not clock.is_over()
    for _ in range(6):
        tick(10)
        assert not clock.is_over()
    tick(10)  # 70 s: the next question would come at 80 s, with just 20 s left
    assert clock.is_over()


def test_the_margin_grows_with_the_saves_and_never_shrinks(tick: Callable[[float], None]) -> None:
    clock = WallClock(1100.0, margin_s=20, last_save_s=10)
    tick(1)
    assert not clock.is_over()
    clock.saved(66.7)
    assert clock.is_over()
    clock.saved(1)
    assert clock.is_over()


def test_a_slow_interval_is_expected_again(tick: Callable[[float], None]) -> None:
    clock = WallClock(1100.0, margin_s=0)
    assert not clock.is_over()
    tick(51)
    assert clock.is_over()


def test_the_time_that_loading_takes_is_not_expected_again(tick: Callable[[float], None]) -> None:
    clock = WallClock(1100.0, margin_s=0)
    tick(60)
    assert not clock.is_over()


def squeue(folder: Path, program: str) -> dict[str, str]:
    """A job's variables, with a `squeue` of ours on PATH."""
    (folder / "squeue").write_text(f"#!/bin/sh\n{program}\n")
    (folder / "squeue").chmod(stat.S_IRWXU)
    return {"PATH": f"{folder}:/usr/bin:/bin", "SLURM_JOB_ID": "17"}


def test_the_end_of_the_job_is_slurms_variable(tmp_path: Path) -> None:
    job = squeue(tmp_path, "echo 1:00:00") | {"SLURM_JOB_END_TIME": "5000", "SLURM_JOB_START_TIME": "1000"}
    assert end_of_run(None, 2000.0, job) == 5000
    assert end_of_run("10", 2000.0, job) == 1600  # from the job's start, not the process's
    assert end_of_run("1-00", 2000.0, job) == 5000


@pytest.mark.usefixtures("tick")
def test_an_older_slurm_is_asked_for_the_time_that_is_left(tmp_path: Path) -> None:
    job = squeue(tmp_path, '[ "$*" = "--noheader --jobs 17 --format %L" ] && echo 1-00:01:00')
    assert end_of_run(None, 900.0, job) == 1000 + DAY + MINUTE


@pytest.mark.parametrize("program", ["echo UNLIMITED", "echo INVALID", "exit 1", "sleep 5"])
def test_a_squeue_that_does_not_know_sets_no_limit(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wall_clock, "SQUEUE_LIMIT_S", 0.5)
    assert end_of_run(None, 0.0, squeue(tmp_path, program)) == math.inf


def test_without_slurm_the_limit_is_counted_from_the_start_of_the_process() -> None:
    assert end_of_run("1:00:00", 1000.0, {}) == 4600
    assert end_of_run(None, 1000.0, {}) == math.inf
    assert end_of_run(None, 1000.0, {"SLURM_JOB_ID": "17", "PATH": "/nowhere"}) == math.inf  # a container


# --- signals ---


def run_python(program: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", "from nemo_hs2pref.runtime.process import stop_signals as s\n" + program]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def test_signals_are_flags_that_a_second_one_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_signals, "received", {})
    before = signal.getsignal(signal.SIGUSR1)
    try:
        stop_signals.catch(signal.SIGUSR1)
        monitor = RunMonitor(None, None)
        assert monitor.flags() == {TIME_LIMIT: False, "SIGUSR1": False, "SIGTERM": False}
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert monitor.flags() == {TIME_LIMIT: False, "SIGUSR1": True, "SIGTERM": False}
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_rank_says_when_it_notes_usr1_which_its_job_script_must_not_send_before() -> None:
    words = f"trap '' USR1; exec {sys.executable} -c 'import os, sys\n"
    words += "from nemo_hs2pref.runtime.process import stop_signals as s\n"
    words += """s.await_usr1(); sys.stdin.read(); print(list(s.received), "HS2PREF_BEGUN" in os.environ)'"""
    with subprocess.Popen(
        ["bash", "-c", words],
        env=os.environ | {"HS2PREF_BEGUN": "here"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGUSR1)
        output, _ = process.communicate(timeout=TIME_LIMIT_S)  # ends its standard input
    assert output == "['SIGUSR1'] False\n"


# A mutex that is locked twice holds the main thread in C for ever, as a collective does whose peer is gone.
WAIT_IN_C = """
import ctypes
lock, c = ctypes.create_string_buffer(64), ctypes.CDLL(None)
c.pthread_mutex_lock(lock)
c.pthread_mutex_lock(lock)
"""


def test_a_rank_that_waits_for_a_dead_one_obeys_sigterm_after_its_grace() -> None:
    process = run_python("s.GRACE_S = 0.5\ns.catch_term()\nprint('ready', flush=True)" + WAIT_IN_C)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=TIME_LIMIT_S)
    assert process.returncode == 143
    assert output.startswith("SIGTERM came and no step ended within")


def test_a_save_is_not_cut_short_nor_are_the_processes_that_it_starts() -> None:
    """Both signals go to all processes, as SLURM may send them."""
    process = run_python("""
import multiprocessing, os, signal, time
s.GRACE_S = 0.3
s.catch(signal.SIGUSR1)
s.catch_term()
with s.saving():
    writers = [multiprocessing.get_context(kind).Process(target=time.sleep, args=(1.5,)) for kind in ("fork", "spawn")]
    for writer in writers:
        writer.start()
    time.sleep(1)
    print("ready", flush=True)
    for pid in (os.getpid(), *(writer.pid for writer in writers)):
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1):
            os.kill(pid, number)
    for writer in writers:
        writer.join()
print([writer.exitcode for writer in writers], sorted(s.received))
""")
    output, _ = process.communicate(timeout=TIME_LIMIT_S)
    assert output == "[0, 0] ['SIGTERM', 'SIGUSR1']\n"
    assert process.returncode == 0


# --- the ranks of an srun step ---

STEP = {
    "SLURM_JOB_ID": "123456", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "16", "SLURM_PROCID": "11",
    "SLURM_LOCALID": "3", "SLURM_STEP_NODELIST": "gpu[007-008]", "SLURM_JOB_NODELIST": "gpu[001-008]",
}  # fmt: skip


def test_a_task_of_a_step_is_a_rank() -> None:
    environ = dict(STEP)
    slurm_step.adopt(environ)
    assert {key: environ[key] for key in environ.keys() - STEP.keys()} == {
        "RANK": "11",
        "LOCAL_RANK": "3",
        "WORLD_SIZE": "16",
        "MASTER_ADDR": "gpu007",
        "MASTER_PORT": "23456",
    }


def test_what_a_launcher_has_set_stays() -> None:
    torchrun = STEP | {"RANK": "0", "WORLD_SIZE": "2"}
    slurm_step.adopt(torchrun)
    assert (torchrun["RANK"], torchrun["WORLD_SIZE"]) == ("0", "2")
    assert "MASTER_ADDR" not in torchrun
    placed = STEP | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"}
    slurm_step.adopt(placed)
    assert (placed["RANK"], placed["MASTER_ADDR"], placed["MASTER_PORT"]) == ("11", "10.0.0.1", "4000")


def test_a_rank_that_pyxis_sets_without_the_rest_is_slurms() -> None:
    environ = STEP | {"RANK": "99", "LOCAL_RANK": "99"}
    slurm_step.adopt(environ)
    assert [environ[key] for key in slurm_step.PLACE] == ["11", "3", "16"]
    assert environ["MASTER_ADDR"] == "gpu007"


@pytest.mark.parametrize(
    "hook", [{"RANK": "0", "LOCAL_RANK": "0"}, {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}]
)
def test_a_task_that_is_alone_is_no_rank_though_enroot_says_so(
    hook: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = STEP | {"SLURM_STEP_NUM_TASKS": "1"}
    monkeypatch.setattr(os, "environ", environ | hook)
    assert not processes.is_started()
    slurm_step.adopt(os.environ)
    assert os.environ == environ
    assert must_be_started(num_nodes=1, devices=8)


def test_a_rank_that_one_task_has_started_is_one() -> None:
    started = STEP | {"SLURM_STEP_NUM_TASKS": "1", "RANK": "5", "LOCAL_RANK": "5", "WORLD_SIZE": "8"}
    environ = dict(started)
    slurm_step.adopt(environ)
    assert slurm_step.is_placed(environ) and environ == started


@pytest.mark.parametrize(
    "environ",
    [
        {key: value for key, value in STEP.items() if key != "SLURM_STEP_ID"},  # the batch script
        STEP | {"SLURM_STEP_NUM_TASKS": "1"},  # srun --pty bash
        {},
    ],
)
def test_a_process_that_is_no_task_of_several_starts_its_ranks_itself(environ: dict[str, str]) -> None:
    before = dict(environ)
    slurm_step.adopt(environ)
    assert environ == before


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node1", "node1"),
        ("a,b", "a"),
        ("gpu[003-010,12]-ib,login1", "gpu003-ib"),
        ("gpu[7,9]", "gpu7"),
        ("rack[1-2]n[01-04]", "rack1n01"),
        ("127.0.0.[1-2]", "127.0.0.1"),
    ],
)
def test_the_first_host_of_slurms_list(nodes: str, first: str) -> None:
    assert slurm_step.first_host(nodes) == first


@given(st.integers(1, 2**26), st.integers(0, 1000))
def test_a_port_is_below_those_that_the_system_gives_away(job: int, step: int) -> None:
    assert 20000 <= slurm_step.port(job, step) < 30000
    assert slurm_step.port(job, step) != slurm_step.port(job, step + 1)


def test_a_step_of_another_size_is_refused_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError) as refusal:
        must_be_started(num_nodes=2, devices=8)
    assert str(refusal.value) == (
        "2 processes were started, trainer.num_nodes=2 x trainer.devices=8 needs 16; start one process a GPU: "
        "srun --nodes=2 --ntasks-per-node=8"
    )
    assert not must_be_started(num_nodes=2, devices=1)


def test_one_process_alone_starts_others_on_one_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert must_be_started(num_nodes=1, devices=8)
    assert not must_be_started(num_nodes=1, devices=1)
    with pytest.raises(ConfigError, match=r"this process is alone, .* needs 16; on several nodes start one process a"):
        must_be_started(num_nodes=2, devices=8)
