"""What the documents name exists, and the commands they show can be given."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from nemo_hs2pref.cli import build_parser, parse
from nemo_hs2pref.recipes.table import recipe_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(path.read_text() for path in DOCUMENTS)


def defined(path: Path) -> set[str]:
    """Names that a module defines at the top."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`nemo_hs2pref\.([\w.]+)`", TEXT))))
def test_named_function_exists(name: str) -> None:
    *room, symbol = name.split(".")
    module = ROOT / "nemo_hs2pref" / Path(*room)
    path = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    assert symbol in defined(path)


@pytest.mark.parametrize("reference", sorted(set(re.findall(r"`(?:tests/)?((?:nemo/)?test_\w+\.py(?:::\w+)?)`", TEXT))))
def test_named_test_exists(reference: str) -> None:
    path, _, name = reference.partition("::")
    assert not name or name in defined(ROOT / "tests" / path)
    assert (ROOT / "tests" / path).is_file()


@pytest.mark.parametrize("layer", ["no_apex_te", "no_cuda"])
def test_each_patch_has_its_row_and_each_row_its_patch(layer: str) -> None:
    source = (ROOT / "nemo_hs2pref" / "runtime" / "platform" / f"{layer}.py").read_text()
    called = set(re.findall(r"^    (\w+)\(\)$", source, flags=re.MULTILINE))
    section = (ROOT / "docs" / "runtime.md").read_text().split(f"`{layer}.py`**")[1].split("**Layer 2")[0]
    rows = {
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert called == rows


def commands() -> list[str]:
    """Every `hs2pref ...` line of a code block, continued lines joined."""
    blocks = re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return sorted({line for line in lines if line.startswith("hs2pref ")})


@pytest.mark.parametrize("line", commands())
def test_shown_command_can_be_given(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    args = parse(build_parser(words[0]), words)
    if words[0] == "train":
        recipe_of(args.recipe).load(args.overrides, args.config_name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_shell_that_is_shown_can_be_read(document: Path) -> None:
    for block in re.findall(r"^```bash\n(.*?)^```", document.read_text(), flags=re.DOTALL | re.MULTILINE):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


def test_every_rank_of_an_evaluation_finds_the_plugin() -> None:
    """NVIDIA's image has neither our command nor our package: both come from the mounted repository."""
    commands = re.findall(
        r"^srun .*?[^\\]$", (ROOT / "docs" / "cluster.md").read_text(), flags=re.DOTALL | re.MULTILINE
    )
    given = [shlex.split(command.replace("\\\n", " ")) for command in commands]
    assert len(given) == 2
    for words in given:
        in_container = any(word.startswith("--container-image=") for word in words)
        assert ("PYTHONPATH=$PWD" in words and "--container-mounts=$PWD" in words) == in_container
        assert (".venv/bin/hs2pref" in words) != in_container
