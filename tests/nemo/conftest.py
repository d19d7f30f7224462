"""Real NeMo processes are dear (15 s to start one on two cores): each is started once a session and checked much."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.small_models.llama_tiny import write_llama_tiny

TIME_LIMIT_S = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.nemo)


@pytest.fixture(scope="session")
def launch() -> Callable[..., str]:
    """Run `python ARGS...` in one process, or in several under torchrun; returns its output, fails with it."""

    def run(*args: object, processes: int = 1, check: bool = True) -> str:
        words = [str(arg) for arg in args]
        if processes > 1:
            words = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
        done = subprocess.run(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIME_LIMIT_S,
            env=environment,
        )
        assert not check or done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    return run


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


@pytest.fixture(scope="session")
def llama_tiny_hf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama_tiny(tmp_path_factory.mktemp("llama_tiny") / "hf")


@pytest.fixture(scope="session")
def llama_tiny(llama_tiny_hf: Path) -> Path:
    """The random model as a NeMo checkpoint."""
    convert_from_hf(llama_tiny_hf, llama_tiny_hf.parent / "nemo")
    return llama_tiny_hf.parent / "nemo"


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory, llama_tiny: Path, launch: Callable[..., str]) -> Path:
    """The bundled sample, prepared, without what llama_tiny's byte tokenizer makes longer than 1000 tokens."""
    out = tmp_path_factory.mktemp("sample") / "data"
    launch("-m", "nemo_hs2pref.cli", "data", "prepare", "--source", "sample", "--out", out,
           "--max-length", 1000, "--tokenizer", llama_tiny / "tokenizer")  # fmt: skip
    return out
