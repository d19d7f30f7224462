"""The image's recipe: what it names exists, what it pins was tested, a wheel can be built from what it copies.

No container is built here.
"""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nemo_hs2pref.preflight.versions import IMAGE

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "launchers" / "container"
RECIPE = (FOLDER / "Dockerfile").read_text()
COMMANDS = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", RECIPE, flags=re.MULTILINE))


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", COMMANDS, flags=re.MULTILINE)


def sources() -> list[str]:
    return [path for words in instructions("COPY") for path in words.split()[:-1]]


def test_image_is_the_one_that_preflight_and_docs_name():
    assert instructions("FROM") == [IMAGE]
    documents = (ROOT / "docs" / name for name in ("install.md", "cluster.md", "cluster-containers.md"))
    clusters = (ROOT / "conf" / "cluster" / name for name in ("plain.yaml", "a100.yaml"))
    for path in (FOLDER / "install.sh", *documents, *clusters):
        assert set(re.findall(r"nvidia/nemo:([\w.]+)", path.read_text())) == {IMAGE.split(":")[1]}, path


def test_pinned_versions_are_those_of_the_constraints():
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    pins = re.findall(r"\b([\w.-]+==[\w.]+)", COMMANDS)
    assert pins and set(pins) <= set(constraints)


def test_nothing_that_is_installed_changes_the_stack():
    installs = [command for command in instructions("RUN") if "pip install" in command]
    assert installs and all("--no-deps" in command and "--no-cache-dir" in command for command in installs)
    assert "/opt/nemo_hs2pref/launchers/container/install.sh" in instructions("RUN")


def test_all_that_is_copied_is_sent_to_the_builder():
    sent = {line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert set(sources()) == sent
    assert all((ROOT / path).exists() for path in sent)


def test_wheel_is_built_from_what_is_copied(tmp_path):
    for path in sources():
        target = tmp_path / "opt" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
        copy(ROOT / path, target)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", tmp_path, tmp_path / "opt"], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    assert "nemo_hs2pref/conf/train_rm.yaml" in zipfile.ZipFile(wheel).namelist()


@pytest.mark.parametrize("checker", [["bash", "-n"], ["shellcheck"]], ids=" ".join)
def test_install_script_is_clean(checker):
    beside = Path(sys.executable).with_name(checker[0])
    program = str(beside) if beside.exists() else shutil.which(checker[0])
    if program is None:
        pytest.skip(f"{checker[0]} is not installed")
    subprocess.run([program, *checker[1:], FOLDER / "install.sh"], check=True, timeout=60)
