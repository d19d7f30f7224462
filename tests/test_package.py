"""The package as it is shipped: imports that point inwards, light verbs, a wheel with its data and its requirements."""

import ast
import os
import re
import resource
import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import nemo_hs2pref.checkpoint
from nemo_hs2pref.cli import VERBS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nemo_hs2pref"
MODULES = sorted(PACKAGE.rglob("*.py"))
TIME_LIMIT_S = 120

# Room or top-level module -> what it may import of ours, besides itself and the package's version. An entry may name
# one module of a room. Inwards only: functional <- data <- models <- algorithms <- runtime <- recipes <- cli.
INNER = {"errors", "decode", "files", "yaml_files", "masking", "parent", "outside", "functional", "metrics", "data"}
MAY_IMPORT = {
    "errors": set(),
    "decode": {"errors"},
    "files": {"errors", "decode"},
    "yaml_files": {"errors"},
    "masking": set(),
    "parent": set(),
    "outside": {"masking"},
    "functional": {"errors"},
    "metrics": {"errors", "data"},
    "objectives": {"errors", "functional", "metrics", "data"},
    "config": {"errors", "decode", "masking", "yaml_files"},
    "data": {"errors", "decode", "files", "functional", "outside", "parent"},
    "evaluation": INNER,
    "scoring": INNER | {"checkpoint", "config", "evaluation", "recipes", "runtime"},
    "generation": INNER | {"algorithms", "config.rules", "checkpoint", "models", "runtime", "scoring"},
    "models": INNER,
    "checkpoint": INNER | {"models"},
    "algorithms": INNER | {"models", "objectives", "checkpoint"},
    "run_lock": {"errors", "decode"},
    "run_metrics": {"errors", "decode", "files"},
    "run_state": {"errors", "decode", "files", "checkpoint.layout"},
    "runtime": INNER
    | {"models", "objectives", "checkpoint", "algorithms", "config", "plots"}
    | {"repository", "run_lock", "run_metrics", "run_state"},
    "repository": set(),
    "recipes": INNER | {"config", "checkpoint", "objectives", "run_lock", "runtime"},
    "launch": {
        "errors",
        "decode",
        "masking",
        "repository",
        "config",
        "recipes",
        "checkpoint.layout",
        "checkpoint.opening",
    }
    | {"checkpoint.saved_run", "data.manifest", "run_lock", "run_state"},
    "preflight": {"errors", "files", "config", "data", "checkpoint", "launch.plan", "recipes", "runtime"},
    "plots": {"errors", "files", "data", "run_metrics"},
    "report": {"errors", "decode", "files", "yaml_files", "outside", "data", "evaluation", "config", "plots"}
    | {"recipes", "run_metrics", "checkpoint.layout", "checkpoint.described", "checkpoint.identity"},
    "laptop": {"errors", "config"},
    "quickstart": {"errors", "files", "data", "evaluation", "scoring", "runtime", "plots", "laptop", "report"}
    | {"checkpoint.identity"},
    "reproduce": {
        "errors",
        "files",
        "data",
        "evaluation",
        "scoring",
        "config",
        "runtime",
        "laptop",
        "checkpoint.layout",
        "recipes",
    },
    "cli": INNER
    | {
        "config",
        "launch",
        "evaluation",
        "checkpoint",
        "generation",
        "scoring",
        "recipes",
        "runtime",
        "plots",
        "preflight",
        "report",
    }
    | {"run_lock", "run_state", "laptop", "quickstart", "reproduce"},
}
NVIDIA = {"apex", "lightning", "megatron", "nemo", "nemo_aligner", "pytorch_lightning", "transformer_engine"}
NVIDIA_ROOMS = (
    "models",
    "algorithms",
    "checkpoint/megatron",
    "runtime",
    "generation",
    "scoring",
    "recipes/rm_training.py",
)
WITHOUT_REQUIREMENTS = {
    "nemo-toolkit",
    "nemo-aligner",
    "megatron-core",
}  # installed by launchers/setup.sh, or the container


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_nvidia_room(module: Path) -> bool:
    return any(module.is_relative_to(PACKAGE / room) for room in NVIDIA_ROOMS)


def imported(module: Path) -> set[str]:
    """Dotted names that a module imports anywhere; `from a import b` counts as a.b, which b may or may not be."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import; write the absolute name"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def run_python(*args: str, **options) -> str:
    """Standard output of `python ARGS...`; a failure shows its standard error."""
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=TIME_LIMIT_S, **options)
    assert done.returncode == 0, f"{args}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def without(refused: set[str], program: str) -> str:
    """`program` where importing one of `refused` raises, as where it is not installed."""
    return f"import sys\nsys.modules.update(dict.fromkeys({refused!r}))\n{program}"


def calls(module: Path, name: str) -> list[ast.Call]:
    """Of functions and methods of that name."""
    return [
        node
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) == name
    ]


# --- what comes from elsewhere runs nothing ---


WITHOUT_CODE = {"LlamaConfig", "PreTrainedTokenizerFast"}  # a class of transformers itself, whatever the folder says


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_reader_runs_what_it_reads(module):
    """A model's own Python code, and pickles; by argument, since a library's default changes."""
    for call in (*calls(module, "from_pretrained"), *calls(module, "from_config")):
        is_refused = (
            "trust_remote_code=False" in ast.unparse(call) or '"trust_remote_code": False' in module.read_text()
        )
        assert is_refused or ast.unparse(call.func).split(".")[0] in WITHOUT_CODE, ast.unparse(call)
    for call in (*calls(module, "load"), *calls(module, "eval"), *calls(module, "exec")):
        assert ast.unparse(call.func) not in ("pickle.load", "np.load", "OmegaConf.load", "eval", "exec")
        safe = {"torch.load": "weights_only=True", "yaml.load": "Reader"}.get(ast.unparse(call.func), "")
        assert safe in ast.unparse(call)


# --- rooms ---


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_inwards(module):
    room = room_of(module)
    allowed = MAY_IMPORT.get(room, set()) | {room, "__version__"}
    for name in imported(module):
        top, *rest = name.split(".")
        if top == "nemo_hs2pref" and room != "__init__":
            assert {rest[0], ".".join(rest[:2])} & allowed, f"{module} must not import {name}"


def test_imports_among_checkpoint_rooms_follow_the_order_in_its_docstring():
    order = re.findall(r"\w+", nemo_hs2pref.checkpoint.__doc__.split("imports only those before it:")[1])
    for module in sorted((PACKAGE / "checkpoint").rglob("*.py")):
        room = module.relative_to(PACKAGE / "checkpoint").parts[0].removesuffix(".py")
        for name in imported(module) if room != "__init__" else ():
            top, *rest = name.removeprefix("nemo_hs2pref.").split(".")
            if top == "checkpoint":
                assert rest[0] in order[: order.index(room) + 1], f"{module} must not import {name}"


@pytest.mark.parametrize(("room", "other"), [("plan", "jobs"), ("jobs", "plan")])
def test_plan_and_jobs_know_nothing_of_each_other(room, other):
    for module in sorted((PACKAGE / "launch" / room).rglob("*.py")):
        assert not [name for name in imported(module) if name.startswith(f"nemo_hs2pref.launch.{other}")], module


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nvidia_and_lightning_are_imported_only_where_training_is(module):
    found = {name for name in imported(module) if name.split(".")[0] in NVIDIA}
    assert not found or is_nvidia_room(module), f"{module} must not import {', '.join(sorted(found))}"


def test_all_other_rooms_import_without_nemo():
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
        if not is_nvidia_room(path) and path.stem != "__main__"
    ]
    run_python("-c", without(NVIDIA, f"import importlib\nfor name in {names}: importlib.import_module(name)"))


# --- commands ---


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_needs_neither_torch_nor_nemo_nor_two_seconds(verb):
    program = without(NVIDIA | {"torch"}, "from nemo_hs2pref.cli import main\nmain(sys.argv[1:])")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = run_python("-c", program, *verb.split(), "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert text.startswith(f"usage: hs2pref {verb}".rstrip())
    # CPU time, which neighbours on the machine do not lengthen as they do the wall clock's
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0


def test_a_70b_run_is_planned_without_torch_in_two_seconds():
    program = without(NVIDIA | {"torch"}, "from nemo_hs2pref.cli import main\nmain(sys.argv[1:])")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = run_python("-c", program, "plan", "experiment=rm_stage1_helpfulness")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert "64 ranks, 8 x 8: tensor 8 x pipeline 2 x data 4" in text
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0


@pytest.mark.parametrize("words", [("plan",), ("submit", str(ROOT / "slurm" / "train_rm_70b.sh"), "--dry-run")])
def test_a_checkpoint_that_only_torch_reads_is_one_sentence_without_torch(words, tmp_path):
    (tmp_path / "nemo2" / "context").mkdir(parents=True)
    program = without(NVIDIA | {"torch"}, "from nemo_hs2pref.cli import main\nsys.exit(main(sys.argv[1:]))")
    command = [sys.executable, "-c", program, *words, "pretrained_checkpoint.restore_from_path=nemo2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIME_LIMIT_S,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.stderr.startswith(f"hs2pref {words[0]}: error: nemo2: needs torch to be read, which is not installed")
    assert (done.stderr.count("\n"), done.returncode) == (1, 2)


# --- wheel ---


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = ["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    run_python(*pip, "--wheel-dir", str(folder), str(ROOT))
    (path,) = folder.glob("nemo_hs2pref-*.whl")
    return path


@pytest.fixture(scope="module")
def metadata(wheel) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs `python ARGS...` with the installed wheel in place of the checkout; returns standard output."""
    target = tmp_path_factory.mktemp("site")
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    run_python(*pip, "--target", str(target), str(wheel))

    def run(*args: str) -> str:
        return run_python(*args, cwd=target, env={"PYTHONPATH": str(target), "PATH": ""})

    assert run("-c", "import nemo_hs2pref; print(nemo_hs2pref.__file__)").startswith(str(target))
    return run


def test_wheel_carries_the_whole_configuration_the_sample_and_the_page(wheel):
    shipped = {f"nemo_hs2pref/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*") if path.is_file()}
    sample = (PACKAGE / "data" / "sample").rglob("*")
    shipped |= {str(path.relative_to(ROOT)) for path in sample if path.is_file()}
    shipped |= {f"nemo_hs2pref/report/{name}" for name in ("page.html", "page.css")}

    assert {"nemo_hs2pref/conf/train_rm.yaml", "nemo_hs2pref/data/sample/train.jsonl"} <= shipped
    assert shipped <= set(zipfile.ZipFile(wheel).namelist())


def test_installed_wheel_reads_its_own_configuration(installed):
    places = ["data.dir=d", "pretrained_checkpoint.restore_from_path=p", "exp_manager.explicit_log_dir=l"]
    printed = installed("-m", "nemo_hs2pref.cli", "train", "rm", "--print-config", *places)
    assert "explicit_log_dir: l" in printed


def test_installed_wheel_prepares_its_own_sample(installed, tmp_path):
    installed("-m", "nemo_hs2pref.cli", "data", "prepare", "--source", "sample", "--out", str(tmp_path / "data"))
    assert (tmp_path / "data" / "pairs.train.jsonl").stat().st_size > 0


def test_wheel_has_the_version_of_the_package(metadata):
    assert metadata["Version"] == nemo_hs2pref.__version__


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(metadata: Message) -> set[str]:
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in metadata.get_all("Requires-Dist")}


def test_every_imported_library_is_a_declared_requirement(metadata):
    tops = {name.split(".")[0] for module in MODULES for name in imported(module)}
    libraries = tops - set(sys.stdlib_module_names) - {"nemo_hs2pref"}
    names = packages_distributions()
    known = required(metadata) | WITHOUT_REQUIREMENTS
    undeclared = {top for top in libraries if not {normal(name) for name in names.get(top, [top])} & known}
    assert not undeclared, f"imported but not in pyproject.toml: {sorted(undeclared)}"


def test_every_requirement_has_an_exact_version_in_the_constraints(metadata):
    pins = (re.match(r"([\w.-]+)==", line) for line in (ROOT / "constraints.txt").read_text().splitlines())
    pinned = {normal(pin[1]) for pin in pins if pin}
    assert not (required(metadata) | WITHOUT_REQUIREMENTS) - pinned


# --- launchers/container/install.sh ---


@pytest.fixture
def container(tmp_path) -> Path:
    """An environment that sees this one's packages and is installed into apart from it, as the container's is."""
    run_python("-m", "venv", "--without-pip", str(tmp_path))
    (site,) = tmp_path.glob("lib/python*/site-packages")
    (site / "outer.pth").write_text(str(Path(pytest.__file__).parents[1]))
    return tmp_path


def install_in(container: Path, wheel: Path, python: Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "launchers" / "container" / "install.sh"
    environment = {**os.environ, "PYTHON": str(python)}
    return subprocess.run(
        [script, wheel], env=environment, cwd=container, capture_output=True, text=True, timeout=TIME_LIMIT_S
    )


def test_container_gets_the_plugin_and_keeps_the_rest(container, wheel):
    done = install_in(container, wheel, container / "bin" / "python")
    assert done.returncode == 0, done.stderr
    assert "unchanged:" in done.stdout
    assert list(container.glob("lib/python*/site-packages/nemo_hs2pref/conf/train_rm.yaml"))


def test_container_refuses_an_installation_that_changes_torch(container, wheel):
    (site,) = container.glob("lib/python*/site-packages")
    meddler = container / "meddler"  # a Python whose pip brings another torch along
    meddler.write_text(f"""#!/bin/sh
if [ "$2" = pip ]; then
  mkdir {site}/torch-9.9.dist-info
  printf 'Name: torch\\nVersion: 9.9\\n' > {site}/torch-9.9.dist-info/METADATA
fi
exec {container}/bin/python "$@"
""")
    meddler.chmod(0o755)

    done = install_in(container, wheel, meddler)
    assert done.returncode == 2
    assert "changed other packages (> torch==9.9)" in done.stderr


def test_reader_that_has_seen_enough_is_no_error(tmp_path):
    prepare = f"{sys.executable} -m nemo_hs2pref.cli data prepare --source sample --out {tmp_path}/out"
    done = subprocess.run(["bash", "-c", f"{prepare} | true"], capture_output=True, text=True, timeout=TIME_LIMIT_S)
    assert done.stderr == "" and (tmp_path / "out" / "manifest.json").exists()
