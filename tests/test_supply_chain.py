"""What is installed is what was locked: a hash for every version, a known licence, an audit that says what it asked."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "launchers" / "locks"


def pins(file: Path) -> set[tuple[str, str]]:
    """(name, version) of each line; a second line is for Python 3.10."""
    return set(re.findall(r"^([\w.-]+)==([^\s;\\]+)", file.read_text(), re.MULTILINE))


def hashes(file: Path) -> dict[str, int]:
    """Of each pinned line, how many hashes it has."""
    blocks = re.split(r"^(?=[\w.-]+==)", file.read_text(), flags=re.MULTILINE)[1:]
    return {block.splitlines()[0]: len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block)) for block in blocks}


def test_every_version_has_its_hashes_and_stands_in_one_file() -> None:
    wanted = pins(ROOT / "constraints.txt")
    torch = {pin for pin in wanted if pin[0] == "torch"}
    assert pins(LOCKS / "packages.txt") == wanted - torch, "run `make lock`"
    assert pins(LOCKS / "torch-cpu.txt") == {(name, f"{version}+cpu") for name, version in torch}
    named = {name for name, _ in wanted}
    with_cuda = pins(LOCKS / "torch-cuda.txt")
    assert torch <= with_cuda and {pin for pin in with_cuda if pin[0] in named} <= wanted, "run `make lock`"
    tools = pins(LOCKS / "tools.in")
    assert tools and tools <= pins(LOCKS / "tools.txt"), "run `make lock`"
    for file in LOCKS.glob("*.txt"):
        assert all(hashes(file).values()), f"{file}: a version without a hash"


def test_what_audits_does_not_come_into_the_environment_of_training() -> None:
    assert not {name for name, _ in pins(LOCKS / "tools.in")} & {name for name, _ in pins(ROOT / "constraints.txt")}


def test_the_licences_are_those_that_the_packages_state() -> None:
    script = runpy.run_path(str(ROOT / "launchers" / "licences.py"))
    unlike = sorted({*script["page"]().splitlines()} ^ {*script["PAGE"].read_text().splitlines()})
    assert not unlike, f"`make licences`, and read what has changed: {unlike}"
    assert len(script["rows"]()) > 140


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What setup.sh needs of one, with a pip that writes what it is asked for and answers with $SAID."""
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "launchers", tmp_path / "launchers")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(
        "#!/bin/bash\n"
        "if [[ $1 == -c ]]; then echo '(3, 11)'; exit; fi\n"
        f'echo "${{@:3}}" >> {tmp_path}/asked\n'
        'for word in "$@"; do [[ $word != /tmp/* || ! -f $word ]] || cat "$word" >> ' + f"{tmp_path}/first; done\n"
        '[[ $* != *torch* || $* == *list* || -z ${SAID-} ]] || { echo "$SAID" >&2; exit 1; }\n'
    )
    python.chmod(0o755)
    (tmp_path / "python3.11").write_text("#!/bin/bash\necho '(3, 11)'\n")
    (tmp_path / "python3.11").chmod(0o755)
    return tmp_path


def setup(checkout: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": f"{checkout}:{os.environ['PATH']}", "TMPDIR": "/tmp", **variables}
    return subprocess.run(
        [checkout / "launchers" / "setup.sh"], env=environment, capture_output=True, text=True, timeout=60
    )


def test_the_set_up_installs_nothing_without_its_hash(checkout: Path) -> None:
    assert setup(checkout).returncode == 0
    asked = [line for line in (checkout / "asked").read_text().splitlines() if line.startswith("install")]
    project = [line for line in asked if "--editable ." in line]
    assert len(project) == 1 and len(asked) == 4
    assert all("--no-deps" in line for line in asked)
    assert all("--require-hashes" in line for line in asked if line not in project)
    assert all("--no-build-isolation" in line for line in asked if "packages.txt" in line or line in project)
    assert re.fullmatch(r"setuptools==.*(\n +--hash=sha256:.*)+\n", (checkout / "first").read_text())
    done = setup(checkout)
    assert done.returncode == 0 and len((checkout / "asked").read_text().splitlines()) == len(asked) + 1  # and `list`


def test_another_torch_than_the_locked_one_is_refused_unless_asked_for(checkout: Path) -> None:
    said = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."
    done = setup(checkout, SAID=said)
    assert done.returncode == 2
    assert "the torch that is offered here has no hash in launchers/locks/torch-cpu.txt" in done.stderr
    assert "TORCH_HASH=any" in done.stderr
    assert setup(checkout, TORCH_HASH="any").returncode == 0
    assert re.search(r"^install .*--no-deps torch==[\d.]+\+cpu$", (checkout / "asked").read_text(), re.MULTILINE)


PACKAGE = {"name": "numpy", "version": "1.0", "vulns": []}
FAULT = {"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": [], "description": ""}
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ([PACKAGE], 0, ["1 of 1 packages asked about, 0 known vulnerabilities"]),
        ([PACKAGE, SKIPPED], 2, ["1 of 2 packages", "could not ask about 1; the first: Dependency not found on PyPI"]),
        ([{**PACKAGE, "vulns": [FAULT]}, SKIPPED], 1, ["numpy 1.0: PYSEC-1, fixed in 2.0", "could not ask about 1"]),
        ([], 2, ["0 of 0 packages"]),
        (None, 2, ["could not ask: ConnectionError: no route"]),
    ],
)
def test_an_audit_says_what_it_could_not_ask(tmp_path: Path, answer: object, code: int, said: list[str]) -> None:
    """pip-audit itself calls it a success."""
    written = "" if answer is None else json.dumps({"dependencies": answer})
    (tmp_path / "pip_audit.py").write_text(
        f"import sys\nprint({written!r})\nprint('ConnectionError: no route', file=sys.stderr)\n"
    )
    words = [sys.executable, ROOT / "launchers" / "audit.py", "packages.txt"]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert all(sentence in done.stdout for sentence in said)
