"""One rank of two fails: all processes are gone within ten seconds, and what is read last is the cause, once."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from nemo_hs2pref.run_lock import RunLock
from nemo_hs2pref.run_state import read_failure

LIMIT_S = 10.0  # of a machine that has nothing else to do
FILE_LIMIT = 4_000_000  # bytes; llama_tiny's weights fit in such files, its optimizer does not


@dataclass(frozen=True)
class Failure:
    lines: list[str]
    exit_code: int
    seconds: float  # from the failure to the end of the last process
    slowdown: float  # by what else ran on the machine; two ranks and their parent are less than 2 a core

    @property
    def is_prompt(self) -> bool:
        return self.seconds < LIMIT_S * self.slowdown

    @property
    def errors(self) -> list[str]:
        return [line for line in self.lines if "error: " in line]


def observe(
    words: list[str], *, on_rank_1: Path | None = None, file_limit: int | None = None, kill_rank_1_at: str | None = None
) -> Failure:
    """Run `hs2pref WORDS...` to its failure.

    `on_rank_1` is a folder with a sitecustomize.py that breaks rank 1 and writes `failed` when it does. The time is
    taken from that, from the kill, or else from the message, which an error of ours prints at once.
    """
    paths = [str(on_rank_1), *sys.path[1:]] if on_rank_1 else sys.path[1:]
    process = subprocess.Popen(
        [sys.executable, "-m", "nemo_hs2pref.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit)))
        if file_limit
        else None,
    )
    family, lines, failed = set[psutil.Process](), list[str](), 0.0
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        family |= descendants(process.pid)
        if kill_rank_1_at is not None and kill_rank_1_at in line:
            rank(1, process.pid).kill()
            failed = time.time()
        elif "error: " in line:
            failed = failed or time.time()
    exit_code = process.wait()
    slowdown = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / 2)
    wait_for_end(family, LIMIT_S * slowdown)
    ended = time.time()
    if on_rank_1 and (on_rank_1 / "failed").exists():
        failed = (on_rank_1 / "failed").stat().st_mtime
    return Failure(lines, exit_code, ended - failed, slowdown)


def wait_for_end(processes: set[psutil.Process], seconds: float) -> None:
    """A process that has ended and that init has not yet reaped, a zombie, is gone too."""
    deadline = time.monotonic() + seconds
    while alive := {process for process in processes if is_alive(process)}:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def descendants(pid: int) -> set[psutil.Process]:
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def rank(number: int, parent: int) -> psutil.Process:
    (found,) = (child for child in psutil.Process(parent).children() if child.environ().get("RANK") == str(number))
    return found


@pytest.fixture
def broken_rank_1(tmp_path: Path) -> Callable[[str], Path]:
    """A folder for PYTHONPATH whose sitecustomize.py runs `program` on rank 1; it calls mark() when it fails."""

    def write(program: str) -> Path:
        mark = f"def mark(): os.mknod({str(tmp_path / 'failed')!r})"
        body = "".join(f"    {line}\n" for line in program.strip().splitlines())
        (tmp_path / "sitecustomize.py").write_text(f"import os\n{mark}\nif os.environ.get('RANK') == '1':\n{body}")
        return tmp_path

    return write


def command(run: Path, base: Path, data: Path) -> list[str]:
    return [
        *("train", "rm", "experiment=rm_stage2_scaled_bt", "model=llama_tiny", "parallel=tp2"),
        *(f"data.dir={data}", f"pretrained_checkpoint.restore_from_path={base}", f"exp_manager.explicit_log_dir={run}"),
        *("model.encoder_seq_length=1000", "model.global_batch_size=2", "head.load_rm_head_weights=false"),
        *("trainer.rm.max_steps=30", "trainer.rm.limit_val_batches=1", "trainer.rm.val_check_interval=0"),
        *("trainer.rm.save_interval=1", "exp_manager.checkpoint_callback_params.save_top_k=0"),
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failures") / "run"


@pytest.fixture(scope="module")
def words(run: Path, llama_tiny: Path, sample: Path) -> list[str]:
    return command(run, llama_tiny, sample)


@pytest.fixture(scope="module")
def killed(words: list[str]) -> Failure:
    """Leaves `last` behind."""
    return observe(words, kill_rank_1_at="step 2/")


def saved_step(run: Path) -> int:
    return json.loads((run / "checkpoints" / "last" / "hs2pref.json").read_text())["step"]


def test_a_rank_that_is_killed_is_named_by_the_command(killed: Failure, run: Path) -> None:
    assert killed.lines[-1].startswith("hs2pref train: error: rank 1 was killed by signal 9 (SIGKILL)")
    assert killed.errors == killed.lines[-1:]
    assert not any("Traceback" in line or "closed by peer" in line for line in killed.lines)
    assert killed.exit_code == 128 + signal.SIGKILL
    assert killed.is_prompt, killed
    assert saved_step(run) >= 1
    failure = read_failure(run)
    assert failure is not None and (failure.rank, failure.exit_code) == (1, killed.exit_code)
    assert killed.lines[-1].endswith(failure.message)


@pytest.mark.usefixtures("killed")
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before_it(words: list[str], run: Path) -> None:
    """Every rank meets the limit in the middle of the optimizer's files, after the weights are written."""
    step = saved_step(run)
    failure = observe(words, file_limit=FILE_LIMIT)
    assert failure.errors == failure.lines[-1:], failure.lines
    assert failure.lines[-1].endswith(
        f"{run}/checkpoints: the checkpoint of step {step + 1} cannot be written (File too large); "
        f"put that right and start again, the run resumes after step {step}"
    )
    assert (failure.exit_code, saved_step(run)) == (2, step)
    assert failure.is_prompt, failure
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last"]


@pytest.mark.usefixtures("killed")
def test_a_disk_that_one_rank_sees_full_stops_all_before_anything_is_written(
    words: list[str], run: Path, broken_rank_1: Callable[[str], Path]
) -> None:
    step = saved_step(run)
    full = "import shutil\nreal = shutil.disk_usage\nshutil.disk_usage = lambda path: real(path)._replace(free=1000)"
    failure = observe(words, on_rank_1=broken_rank_1(full))
    assert any(f"resuming {run}/checkpoints/last after step {step}" in line for line in failure.lines)
    assert failure.errors == failure.lines[-1:], failure.lines
    assert "GB (computed), 0.0 GB are free; make room and start again" in failure.lines[-1]
    assert failure.lines[-1].endswith(f"the run resumes after step {step}")
    assert (failure.exit_code, saved_step(run)) == (2, step)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last"]
    assert failure.is_prompt, failure


def test_a_batch_that_one_rank_cannot_build_is_its_traceback_alone(
    tmp_path: Path, llama_tiny: Path, sample: Path, broken_rank_1: Callable[[str], Path]
) -> None:
    bug = """
import nemo_hs2pref.data.batches.tokens
def pad(rows, multiple_of):
    mark()
    raise ValueError("a bug on rank 1")
nemo_hs2pref.data.batches.tokens.pad = pad
"""
    failure = observe(command(tmp_path / "run", llama_tiny, sample), on_rank_1=broken_rank_1(bug))
    assert failure.lines[-1] == "  ValueError: a bug on rank 1"  # indented, as all that goes on after our words
    assert failure.errors == ["hs2pref train: error: rank 1: Traceback (most recent call last):"], failure.lines
    assert failure.exit_code == 1
    assert failure.is_prompt, failure


def test_data_that_one_rank_cannot_read_stops_all(
    tmp_path: Path, llama_tiny: Path, sample: Path, broken_rank_1: Callable[[str], Path]
) -> None:
    broken_disk = """
import builtins
real = open
def open_or_fail(path, *args, **kwargs):
    if str(path).endswith("pairs.train.jsonl"):
        mark()
        raise OSError(5, "Input/output error")
    return real(path, *args, **kwargs)
builtins.open = open_or_fail
"""
    failure = observe(command(tmp_path / "run", llama_tiny, sample), on_rank_1=broken_rank_1(broken_disk))
    file = sample / "pairs.train.jsonl"
    assert failure.lines == [f"hs2pref train: error: rank 1: {file}: cannot be read (Input/output error)"]
    assert failure.exit_code == 1  # another node may read it
    assert failure.is_prompt, failure
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("killed")
def test_a_resume_state_that_has_changed_stops_all_before_it_is_loaded(words: list[str], run: Path) -> None:
    """One bit of what rank 1 wrote of the optimizer."""
    file = run / "checkpoints" / "last" / "training_state" / "__1_0.distcp"
    whole = file.read_bytes()
    at = len(whole) // 2
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    failure = observe(words)
    file.write_bytes(whole)
    assert failure.errors == failure.lines[-1:], failure.lines
    assert f"{file}: SHA-256 is " in failure.lines[-1]
    assert failure.lines[-1].endswith("exp_manager.resume_if_exists=false; there is no earlier one")
    assert failure.exit_code == 2
    assert failure.is_prompt, failure


@pytest.mark.usefixtures("killed")
def test_stored_weights_that_their_configuration_does_not_fit_are_named(run: Path, tmp_path: Path) -> None:
    """A head of nine attributes under a configuration of two; two ranks score."""
    checkpoint = tmp_path / "other_head"
    shutil.copytree(run / "checkpoints" / "last", checkpoint)
    config = yaml.safe_load((checkpoint / "model_config.yaml").read_text())
    config["head"] |= {"attributes": ["helpfulness", "correctness"], "reward_weights": [1.0, 0.0]}
    (checkpoint / "model_config.yaml").write_text(yaml.safe_dump(config))
    rows, scores = tmp_path / "rows.jsonl", tmp_path / "scores.jsonl"
    messages = [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "So."}]
    rows.write_text(json.dumps({"id": "a", "messages": messages}) + "\n")

    files = ["--model", str(checkpoint), "--input", str(rows), "--output", str(scores)]
    failure = observe(["score", *files, "--tensor-parallel", "2"])
    assert failure.lines[-1].endswith(
        f"{checkpoint}/model_weights: tensor model.rm_head.weight has shape (9, 256), this model needs (2, 256)"
    )
    assert failure.errors == failure.lines[-1:], failure.lines
    assert failure.exit_code == 2
    assert not scores.exists()


@pytest.mark.parametrize(
    ("sent", "said"),
    [(signal.SIGTERM, "stopped by SIGTERM"), (signal.SIGINT, "interrupted"), (signal.SIGKILL, None)],
)
def test_a_signal_to_the_command_stops_its_ranks(
    sent: signal.Signals, said: str | None, tmp_path: Path, llama_tiny: Path, sample: Path
) -> None:
    words = command(tmp_path / "run", llama_tiny, sample)
    process = subprocess.Popen(
        [sys.executable, "-m", "nemo_hs2pref.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    family = psutil.Process(process.pid)
    while sum(map(has_loaded_torch, family.children())) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    children = set(family.children(recursive=True))
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == (128 + sent if said else -sent)
    assert output.splitlines() == ([f"hs2pref train: {said}"] if said else [])
    wait_for_end(children, LIMIT_S)


def test_a_launcher_that_is_killed_in_a_save_leaves_nothing_that_writes_or_holds_the_folder(
    tmp_path: Path, llama_tiny: Path, sample: Path, broken_rank_1: Callable[[str], Path]
) -> None:
    """The writers of rank 1, which its save has forked, wait for a disk that does not answer."""
    dead_disk = """
import multiprocessing, time
real = os.fsync
def fsync(descriptor):
    if multiprocessing.parent_process():
        os.path.exists(os.path.dirname(__file__) + "/failed") or mark()
        time.sleep(600)
    real(descriptor)
os.fsync = fsync
"""
    run, broken = tmp_path / "run", broken_rank_1(dead_disk)
    process = subprocess.Popen(
        [sys.executable, "-m", "nemo_hs2pref.cli", *command(run, llama_tiny, sample)],
        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(broken), *sys.path[1:]])},
    )  # fmt: skip
    while not (broken / "failed").exists():
        assert process.poll() is None
        time.sleep(0.05)
    family = descendants(process.pid)
    assert len(family) > 2
    process.kill()
    process.wait()
    wait_for_end(family, LIMIT_S)
    RunLock(run).claim()


def has_loaded_torch(process: psutil.Process) -> bool:
    if "--config-name" not in process.cmdline():  # still the fork of its parent, which has torch too
        return False
    return any("libtorch_cpu" in library.path for library in process.memory_maps())
