"""What several test files share: real rows, small models and data. pytest's -ra prints the reason of every skip."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

TIME_LIMIT_S = 600
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

settings.register_profile("hs2pref", deadline=None)  # a busy machine proves nothing
settings.load_profile("hs2pref")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real rows beside the checkout (they are not ours to ship); skips where it is absent.

    With HS2PREF_REQUIRE_SHARED_DATA set, as .ci/run does where the folder is, an absent one fails instead.
    """
    if not SHARED_DATA.is_dir():
        refuse = pytest.fail if os.environ.get("HS2PREF_REQUIRE_SHARED_DATA") else pytest.skip
        refuse(f"no real rows: {SHARED_DATA} does not exist (put the folder `shared` beside the checkout)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def reward_hf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama 3.1 with a head of three attributes and measured rewards, as transformers saves it."""
    from families import FIGURES, save_reward_model  # heavy: torch, transformers

    return save_reward_model(tmp_path_factory.mktemp("reward") / "hf", "llama31", hs2pref={"standardization": FIGURES})


@pytest.fixture(scope="session")
def reward_nemo(reward_hf: Path) -> Path:
    """The same as a checkpoint of ours."""
    from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf  # heavy

    convert_from_hf(reward_hf, reward_hf.parent / "nemo")
    return reward_hf.parent / "nemo"


@pytest.fixture
def nemo(reward_nemo: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return shutil.copytree(reward_nemo, tmp_path / "nemo")


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
def llama_tiny_hf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from nemo_hs2pref.checkpoint.small_models.tiny import write_llama_tiny  # heavy: torch, transformers

    return write_llama_tiny(tmp_path_factory.mktemp("llama_tiny") / "hf")


@pytest.fixture(scope="session")
def llama_tiny(llama_tiny_hf: Path) -> Path:
    """The random model as a NeMo checkpoint."""
    from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf  # heavy

    convert_from_hf(llama_tiny_hf, llama_tiny_hf.parent / "nemo")
    return llama_tiny_hf.parent / "nemo"


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory, llama_tiny: Path, launch: Callable[..., str]) -> Path:
    """The bundled sample, prepared, without what llama_tiny's byte tokenizer makes longer than 1000 tokens."""
    out = tmp_path_factory.mktemp("sample") / "data"
    launch("-m", "nemo_hs2pref.cli", "data", "prepare", "--source", "sample", "--out", out,
           "--max-length", 1000, "--tokenizer", llama_tiny / "tokenizer")  # fmt: skip
    return out
