"""What several test files share: real rows, a small reward model. pytest's -ra prints the reason of every skip."""

import os
import shutil
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


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
