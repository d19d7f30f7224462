"""Real NeMo processes are dear (15 s to start one on two cores): each is started once a session and checked much."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.nemo)


@pytest.fixture(scope="session")
def kill_when() -> Callable[[Path, str, list[str]], None]:
    """Start `python WORDS...` and kill it and its children as soon as `file` has `text`."""

    def run(file: Path, text: str, words: list[str]) -> None:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        deadline = time.monotonic() + 300
        while not (file.exists() and text in file.read_text()):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    return run
