"""What several test files share: the folder of real rows. pytest's -ra prints the reason of every skip."""

import os
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
