"""A run of two ranks that is stopped three times, each in another way, ends with the numbers of one that never was."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_failures import command, rank

from nemo_hs2pref.errors import STOPPED
from nemo_hs2pref.run_state import read_failure, read_finished, read_state

STEPS = 9
TIME_LIMIT_S = 300
SECOND = """
import sys
from nemo_hs2pref import run_lock
from nemo_hs2pref.cli import main
run_lock.PATIENCE_S = 0
sys.exit(main(sys.argv[1:]))
"""
Signal = Callable[[subprocess.Popen[str]], None]


@dataclass(frozen=True)
class Start:
    exit_code: int
    output: str
    step: int  # after which it ended
    reason: str


@dataclass(frozen=True)
class Runs:
    straight: Path
    stopped: Path
    starts: Mapping[str, Start]
    words: list[str]
    refused: str  # exit code and message of a second start beside the first, and process id of its rank 0


def start(
    run: Path, words: list[str], *, at_step: int = 0, act: Signal | None = None, variables: Mapping[str, str] = {}
) -> Start:
    """Run `hs2pref WORDS...` to its end; `act` as soon as `at_step` is in metrics.jsonl."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nemo_hs2pref.cli", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
    )  # fmt: skip
    metrics, deadline = run / "metrics.jsonl", time.monotonic() + TIME_LIMIT_S
    while act is not None and not (metrics.exists() and f'"step": {at_step},' in metrics.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    if act is not None:
        act(process)
    output, _ = process.communicate(timeout=TIME_LIMIT_S)
    state = read_state(run)
    assert state is not None, output
    return Start(process.returncode, output, state.step, state.reason)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, llama_tiny: Path, sample: Path) -> Runs:
    folder = tmp_path_factory.mktemp("stops")
    straight, stopped = folder / "straight", folder / "stopped"

    def words(run: Path) -> list[str]:
        settings = ("val_check_interval=2", "save_interval=0", f"max_steps={STEPS}")
        kept = "exp_manager.checkpoint_callback_params.save_top_k=1"
        return [*command(run, llama_tiny, sample), *(f"trainer.rm.{setting}" for setting in settings), kept]

    refused: list[str] = []

    def start_beside(process: subprocess.Popen[str]) -> None:
        done = subprocess.run(
            [sys.executable, "-c", SECOND, *words(straight)], stderr=subprocess.PIPE, text=True, timeout=TIME_LIMIT_S
        )
        refused.append(f"{done.returncode} {done.stderr} of {rank(0, process.pid).pid}")

    def tell_one_rank(process: subprocess.Popen[str]) -> None:
        rank(1, process.pid).send_signal(signal.SIGUSR1)

    def tell_twice(process: subprocess.Popen[str]) -> None:
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)  # the second one comes while the ranks save

    over = {"SLURM_JOB_END_TIME": str(int(time.time()))}
    again = words(stopped)
    return Runs(
        straight,
        stopped,
        {
            "straight": start(straight, words(straight), at_step=1, act=start_beside),
            "SIGUSR1": start(stopped, again, at_step=1, act=tell_one_rank),
            "time limit": start(stopped, again, variables=over),
            "SIGTERM": start(stopped, again, at_step=4, act=tell_twice),
            "last": start(stopped, again),
            "after": start(stopped, [*again, "pretrained_checkpoint.restore_from_path=" + str(llama_tiny)]),
        },
        again,
        refused[0],
    )


def metrics(run: Path) -> list[dict]:
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in row.items() if key not in ("step_s", "tokens_per_s")} for row in rows]


@pytest.mark.parametrize("reason", ["SIGUSR1", "time limit", "SIGTERM"])
def test_a_run_that_is_asked_to_stop_ends_with_the_reserved_code(runs: Runs, reason: str) -> None:
    stopped = runs.starts[reason]
    assert stopped.exit_code == STOPPED, stopped.output
    assert stopped.reason == reason
    said = f"stopped after step {stopped.step} of {STEPS} ({reason}); the same command goes on from there"
    assert stopped.output.splitlines()[-1].endswith(said), stopped.output
    assert "Traceback" not in stopped.output


def test_a_second_start_in_the_folder_is_refused_and_disturbs_nothing(runs: Runs) -> None:
    error = f"2 hs2pref train: error: {runs.straight}: another start works in this folder, process "
    assert runs.refused.startswith(error)
    assert runs.refused.partition(" process ")[2].split()[0] == runs.refused.split()[-1]


def test_each_start_goes_on_where_the_one_before_it_stopped(runs: Runs) -> None:
    ends = [runs.starts[name].step for name in ("SIGUSR1", "time limit", "SIGTERM", "last")]
    assert ends == sorted(ends) and ends[-1] == STEPS
    assert ends[1] == ends[0] + ends[0] % 2  # no time is left: one step, or nothing of a validation that is due
    for before, name in zip(ends, ("time limit", "SIGTERM", "last"), strict=False):
        assert f"resuming {runs.stopped}/checkpoints/last after step {before}" in runs.starts[name].output


def test_a_stopped_run_has_the_numbers_of_one_that_never_was(runs: Runs) -> None:
    """Validations that a stop left out are made up for."""
    assert runs.starts["straight"].exit_code == runs.starts["last"].exit_code == 0, runs.starts["last"].output
    assert metrics(runs.stopped) == metrics(runs.straight)
    assert len(metrics(runs.straight)) == STEPS + STEPS // 2 + 1
    kept = [sorted(path.name for path in (run / "checkpoints").iterdir()) for run in (runs.stopped, runs.straight)]
    assert kept[0] == kept[1]


def test_a_finished_run_says_so_and_loads_nothing(runs: Runs) -> None:
    done, after = read_finished(runs.stopped), runs.starts["after"]
    assert done is not None and (done.step, done.checkpoint) == (STEPS, "checkpoints/last")
    assert after.exit_code == 0
    assert after.output == f"{runs.stopped} is finished, after step {STEPS}; {runs.stopped}/checkpoints/last\n"
    state = read_state(runs.stopped)
    assert state is not None and (state.phase, state.starts, state.checkpoint_step) == ("finished", 4, STEPS)
    assert read_failure(runs.stopped) is None
