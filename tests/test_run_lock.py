"""Two starts in one run folder: one works, the other says with whom."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from nemo_hs2pref import run_lock
from nemo_hs2pref.cli import main
from nemo_hs2pref.errors import TrainingError
from nemo_hs2pref.run_lock import RunLock

HOST = socket.gethostname()
Start = Callable[..., subprocess.Popen[str]]
# What a rank does: says yes or no, and then lives until it is killed.
RANK = """
import sys, time
from pathlib import Path
from nemo_hs2pref import run_lock
run_lock.PATIENCE_S = 0
lock = run_lock.RunLock(Path(sys.argv[1]))
try:
    getattr(lock, sys.argv[2])()
    print("in", flush=True)
except Exception as error:
    sys.exit(str(error))
time.sleep(600)
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """A process that takes the lock of a folder in one of RunLock's ways, and says `in` when it has it."""
    started: list[subprocess.Popen[str]] = []

    def run(folder: Path, way: str = "claim", job: str = "") -> subprocess.Popen[str]:
        words = [sys.executable, "-c", RANK, str(folder), way]
        environment = {**os.environ, "SLURM_JOB_ID": job}
        started.append(
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def is_in(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "in\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATIENCE_S", "LEFTOVER_S"):
        monkeypatch.setattr(run_lock, name, 0.3)


def test_a_second_start_is_refused_and_names_the_first(start: Start, tmp_path: Path) -> None:
    first = start(tmp_path, job="88")
    assert is_in(first)
    for refused in (RunLock(tmp_path).claim, RunLock(tmp_path).refuse_held):
        with pytest.raises(TrainingError) as refusal:
            refused()
        since = json.loads((tmp_path / "run.lock").read_text())["since"]
        assert str(refusal.value) == (
            f"{tmp_path}: another start works in this folder, process {first.pid} on {HOST!r}, SLURM job '88', "
            f"since {since!r}; wait for it or end it, or choose another exp_manager.explicit_log_dir"
        )
    first.kill()
    first.wait()
    RunLock(tmp_path).refuse_held()
    RunLock(tmp_path).claim()
    assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()


def test_a_rank_that_is_left_keeps_the_folder_of_a_start_whose_first_is_dead(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start(tmp_path)
    assert is_in(first)
    left = start(tmp_path, "join")
    assert is_in(left)
    first.kill()
    first.wait()
    with pytest.raises(TrainingError, match=f"process {first.pid} on "):
        RunLock(tmp_path).claim()
    monkeypatch.setattr(run_lock, "LEFTOVER_S", 60)  # it may be waiting for the disk, as one that is killed in a save
    Timer(1, left.kill).start()
    RunLock(tmp_path).claim()


def test_of_many_starts_at_once_one_gets_in(start: Start, tmp_path: Path) -> None:
    starts = [start(tmp_path) for _ in range(8)]
    refused = [process for process in starts if not is_in(process)]
    assert len(refused) == 7
    for process in refused:
        assert "another start works in this folder" in process.communicate()[1]


def test_whoever_wrote_the_lock_file_gets_nobody_in_or_out(start: Start, tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text('{"host": 3}')
    RunLock(tmp_path).refuse_held()
    assert is_in(start(tmp_path))
    (tmp_path / "run.lock").write_text("")
    with pytest.raises(TrainingError, match="in this folder, which has not said who it is; wait"):
        RunLock(tmp_path).claim()


def test_a_file_system_without_locks_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = RunLock(tmp_path)
    lock.claim()
    lock.claim()
    assert caplog.messages == [
        f"{tmp_path}/run.lock: the file system has no locks (Function not implemented): "
        "nothing keeps a second start out of this folder"
    ]


@contextmanager
def as_somebody() -> Iterator[None]:
    """root may write everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written_is_one_sentence() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        with as_somebody(), pytest.raises(TrainingError) as refusal:
            RunLock(Path(folder)).claim()
    assert str(refusal.value) == (
        f"{folder}/run.lock: cannot be written (Permission denied); a run needs a folder that it may write"
    )


def test_the_command_and_the_job_are_refused_before_they_read_or_write(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There are no data and no checkpoint yet; the folder of the other start stays as it is."""
    run = tmp_path / "run"
    assert is_in(start(run))
    before = (run / "run.lock").read_text()
    words = ["train", "rm", "data.dir=d", "pretrained_checkpoint.restore_from_path=p"]
    words += [f"exp_manager.explicit_log_dir={run}"]
    assert main(words) == main([*words, "parallel=tp2", "model=llama_tiny"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(line.startswith(f"hs2pref train: error: {run}: another start works in this folder, ") for line in said)
    assert [path.name for path in run.iterdir()] == ["run.lock"]
    assert (run / "run.lock").read_text() == before


LAUNCHER = """
import os, subprocess, sys
child = "import os, time; from nemo_hs2pref.runtime.process.launcher import end_with_launcher\\n"
child += "end_with_launcher(os.environ)\\n"
child += "assert 'HS2PREF_LAUNCHER' not in os.environ; print(os.getpid(), flush=True); time.sleep(600)"
environment = {**os.environ, "HS2PREF_LAUNCHER": sys.argv[1] if len(sys.argv) > 1 else str(os.getpid())}
rank = subprocess.Popen([sys.executable, "-c", child], env=environment, start_new_session=True)
sys.exit(rank.wait() != -9)
"""


def test_a_rank_ends_with_its_launcher() -> None:
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    rank = int(launcher.stdout.readline())
    os.kill(rank, 0)
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert launcher.stdout.read() == ""  # nobody holds it open


def test_a_rank_whose_launcher_has_ended_before_ends_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", LAUNCHER, "1"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
