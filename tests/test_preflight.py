"""`hs2pref preflight` of a machine: each check when all is well and when it is not, limits that hold, exit codes."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemo_hs2pref.cli import main, preflight
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.preflight import bandwidth, gpus, limits, rendezvous, runner, shared_folder, versions
from nemo_hs2pref.preflight.check import Check, Finding, Result, failed, ok, skipped, warning
from nemo_hs2pref.preflight.node import Node

ALONE = Node("here", 0, 1, "by-hand")
H100 = "NVIDIA H100 80GB HBM3"
TIME_LIMIT_S = 60
RUN = SimpleNamespace(trainer=SimpleNamespace(devices=2, num_nodes=1, precision="bf16"))


def result_of(findings: Iterator[Finding]) -> Result:
    return Result.of("check", findings, 0.0)


def pair_of_nodes(look: Callable[[Node], Iterator[Finding]]) -> tuple[Result, Result]:
    """What two nodes find at the same time."""
    found: dict[int, Result] = {}
    nodes = [Node(f"node{index}", index, 2, "7-1-0") for index in range(2)]
    threads = [threading.Thread(target=lambda n=node: found.update({n.index: result_of(look(n))})) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found[0], found[1]


# --- runner ---


def never() -> Iterator[Finding]:
    subprocess.run(["sleep", "600"], check=False)
    yield ok("woke up")


def test_check_that_hangs_is_given_up_at_its_limit_and_the_others_are_not():
    began = time.monotonic()
    quick = Check("quick", lambda: iter([ok("fine")]), 60, "")
    stuck, after = runner.run([Check("stuck", never, 0.5, "ask somebody"), quick])

    assert time.monotonic() - began < 5
    assert (stuck.status, stuck.hint) == ("failed", "ask somebody") and "no answer in 0.5 s" in stuck.text
    assert (after.status, after.text) == ("ok", "fine")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIME_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Ended, whether or not its parent has asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_check_that_is_given_up_leaves_no_process_behind(tmp_path):
    def look() -> Iterator[Finding]:
        child = subprocess.Popen(["sleep", "600"])
        (tmp_path / "pid").write_text(str(child.pid))
        child.wait()
        yield ok("")

    pid = tmp_path / "pid"
    running = runner.start(Check("stuck", look, TIME_LIMIT_S, ""))
    wait_until(lambda: pid.exists() and pid.read_text() != "")
    running.kill()
    os.close(running.pipe)
    wait_until(lambda: is_gone(int(pid.read_text())))


def test_errors_of_a_check_are_its_answer():
    def user_error() -> Iterator[Finding]:
        raise ConfigError("data.ties=x: expected drop")
        yield

    def unreadable() -> Iterator[Finding]:
        Path("/nowhere").read_text()
        yield ok("")

    def fault() -> Iterator[Finding]:
        yield warning("seen before", "")
        raise ValueError("oh")

    def killed() -> Iterator[Finding]:
        os.kill(os.getpid(), signal.SIGKILL)
        yield ok("")

    looks = (user_error, unreadable, fault, killed)
    results = list(runner.run([Check(look.__name__, look, 60, "the file system") for look in looks]))

    assert [result.status for result in results] == ["failed"] * 4
    assert results[0].text == "data.ties=x: expected drop"
    assert "/nowhere" in results[1].text and results[1].hint == "the file system"
    assert results[2].text == "ValueError: oh"
    assert "signal 9" in results[3].text


def test_what_a_check_prints_is_not_seen(capfd, monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # else a fork after other tests' tokenizers warns

    def look() -> Iterator[Finding]:
        subprocess.run(["echo", "noise"], check=True)
        yield ok("fine")

    (result,) = runner.run([Check("loud", look, 60, "")])
    assert result.text == "fine" and capfd.readouterr() == ("", "")


def test_result_is_the_worst_that_was_found():
    found = [ok("a"), warning("b", "mend b"), failed("c", "mend"), failed("d", "mend"), skipped("e")]
    assert Result.of("x", found, 1.0) == Result("x", "failed", 1.0, "c; d", "mend")
    assert Result.of("x", found[:2], 1.0).text == "b"
    assert Result.of("x", [], 1.0).status == "skipped"


def test_nodes_are_counted_in_a_step_alone():
    step = {"SLURMD_NODENAME": "n3", "SLURM_NODEID": "2", "SLURM_STEP_NUM_NODES": "4", "SLURM_JOB_ID": "7"}
    assert Node.here(step | {"SLURM_STEP_ID": "1"}) == Node("n3", 2, 4, "7-1-0")
    batch = {"SLURMD_NODENAME": "n1", "SLURM_NODEID": "0", "SLURM_JOB_NUM_NODES": "4", "SLURM_JOB_ID": "7"}
    assert Node.here(batch).count == 1


# --- GPUs ---


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch) -> Callable[..., None]:
    """Puts an nvidia-smi on the path that prints the given lines."""

    def install(*lines: str, code: int = 0) -> None:
        script = tmp_path / "bin" / "nvidia-smi"
        script.parent.mkdir(exist_ok=True)
        (tmp_path / "table").write_text("\n".join(lines) + "\n")
        script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/table\nexit {code}\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")

    return install


@pytest.fixture
def no_driver(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "driver")


def gpu(number: int, *, model: str = H100, used: int = 4, errors: str = "0") -> str:
    return f"{number}, {model}, 81559, {used}, 550.54.15, {errors}"


def test_healthy_gpus_are_named(nvidia_smi, tmp_path):
    nvidia_smi(gpu(0), gpu(1, errors="[N/A]"))
    result = result_of(gpus.look_at_gpus(RUN, {}))
    assert (result.status, result.text) == ("ok", f"2 x {H100}, 81559 MiB, driver 550.54.15")
    assert (tmp_path / "asked").read_text().startswith("--query-gpu=index,name,memory.total")


@pytest.mark.parametrize(
    ("lines", "status", "text"),
    [
        ([gpu(0), gpu(1, errors="3")], "failed", "GPU 1 has 3 uncorrected memory errors since its start"),
        ([gpu(0)], "failed", "1 GPUs, trainer.devices=2"),
        ([gpu(0), gpu(1, used=40000)], "warning", "40000 MiB of GPU 1 are in use already"),
        ([gpu(0), gpu(1, model="NVIDIA A100-SXM4-80GB")], "warning", "the GPUs differ"),
    ],
)
def test_gpus_that_will_not_do_are_told(nvidia_smi, lines, status, text):
    nvidia_smi(*lines)
    result = result_of(gpus.look_at_gpus(RUN, {}))
    assert (result.status, result.text) == (status, text) and result.hint


def test_driver_that_fails_is_quoted(nvidia_smi):
    nvidia_smi("Unable to determine the device handle for GPU0000:1B:00.0: Unknown Error", code=15)
    result = result_of(gpus.look_at_gpus(None, {}))
    assert result.status == "failed" and "ended with 15" in result.text and "Unknown Error" in result.text


def test_driver_that_hangs_is_given_up(nvidia_smi, tmp_path):
    nvidia_smi()
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nsleep 600\n")
    (result,) = runner.run([Check("gpus", partial(gpus.look_at_gpus, None, {}), 0.5, "exclude it")])
    assert (result.status, result.hint) == ("failed", "exclude it")


def test_machine_without_gpu_is_for_float32(no_driver):
    for look in (gpus.look_at_gpus, gpus.look_at_cuda):
        in_float32 = SimpleNamespace(trainer=SimpleNamespace(devices=1, precision="32"))
        assert result_of(look(None, {})).status == "skipped"
        assert result_of(look(in_float32, {})).status == "skipped"
        assert result_of(look(in_float32, {"SLURM_GPUS_ON_NODE": "8"})).status == "warning"
        assert result_of(look(RUN, {})).status == "failed"


def test_torch_without_cuda_on_a_node_with_gpus_fails(nvidia_smi):
    torch = pytest.importorskip("torch")
    if torch.version.cuda is not None:
        pytest.skip("this torch has CUDA")
    nvidia_smi(gpu(0))
    result = result_of(gpus.look_at_cuda(None, {}))
    assert result.status == "failed" and "without CUDA" in result.text


# --- versions ---


def versions_as(monkeypatch, **given: str | None) -> Result:
    tested = {name: f"{begins[0]}.1" for name, begins in versions.TESTED.items()}
    installed = tested | {"transformer-engine": "1.13", "apex": "0.1"}
    installed |= {name.replace("_", "-"): version for name, version in given.items()}
    monkeypatch.setattr(versions, "installed", installed.get)
    return result_of(versions.look_at_versions(RUN))


def test_tested_versions_are_fine_and_unknown_ones_a_warning(monkeypatch):
    assert versions_as(monkeypatch).status == "ok"
    assert versions_as(monkeypatch, megatron_core="0.11.0rc1", torch="2.6.0a0+ecf3bae40a.nv25.1").status == "ok"
    newer = versions_as(monkeypatch, nemo_toolkit="2.30.0")
    assert (newer.status, newer.text) == ("warning", "nemo-toolkit 2.30.0, tested was 2.2")


def test_missing_packages_fail_where_training_needs_them(monkeypatch):
    assert versions_as(monkeypatch, megatron_core=None).status == "failed"
    slower = versions_as(monkeypatch, apex=None)
    assert (slower.status, slower.text) == ("warning", "apex not installed")


def test_tested_versions_are_those_of_the_constraints():
    lines = (Path(__file__).parents[1] / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split(" ;")[0].split("==") for line in lines if "==" in line and not line.startswith("#"))
    for name, begins in versions.TESTED.items():
        if name != "python":
            assert any(versions.is_version(pinned[name], begin) for begin in begins), name


# --- limits ---


def test_small_shared_memory_and_few_files_are_told(monkeypatch, tmp_path):
    grants = {resource.RLIMIT_NOFILE: (256, 256), resource.RLIMIT_MEMLOCK: (65536, 65536)}
    monkeypatch.setattr(limits.resource, "getrlimit", grants.__getitem__)
    (tmp_path / "mlx5_0").mkdir()
    result = result_of(limits.look_at_limits(None, shared_memory=tmp_path / "none", infiniband=tmp_path))
    assert result.status == "warning"
    for text in ("has 0.00 GiB", "256 open files", "65536 bytes of memory may be locked"):
        assert text in result.text


def test_roomy_limits_are_fine(monkeypatch, tmp_path):
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    monkeypatch.setattr(limits, "SHARED_BYTES", 1)
    result = result_of(limits.look_at_limits(RUN, infiniband=tmp_path / "none"))
    assert result.status == "ok" and "open files unlimited" in result.text


def test_temporary_folder_must_take_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr(limits.tempfile, "gettempdir", lambda: str(tmp_path))
    assert result_of(limits.look_at_temporary()).status == "ok"
    monkeypatch.setattr(limits.tempfile, "gettempdir", lambda: str(tmp_path / "gone"))
    (result,) = runner.run([Check("temporary", limits.look_at_temporary, 60, "a hint")])
    assert result.status == "failed" and "gone" in result.text


# --- nodes among themselves ---


def test_all_nodes_see_what_the_first_one_wrote(tmp_path):
    first, second = pair_of_nodes(
        lambda node: shared_folder.look_at_shared_folder(tmp_path / "runs" / "new", node, wait_s=10)
    )
    assert (first.status, second.status) == ("ok", "ok"), (first, second)
    assert first.text == f"{tmp_path} can be written to, all 2 nodes see it"
    assert list(tmp_path.iterdir()) == []  # nothing is left, and the run folder is not made


def test_folder_of_one_node_alone_is_found_out_by_both(tmp_path):
    own = {index: tmp_path / str(index) for index in range(2)}
    for folder in own.values():
        folder.mkdir()
    first, second = pair_of_nodes(lambda node: shared_folder.look_at_shared_folder(own[node.index], node, wait_s=0.5))
    assert (first.status, second.status) == ("failed", "failed")
    assert "no sign of the nodes numbered 1" in first.text and "is not seen on node1" in second.text


def test_other_token_is_not_taken_for_the_first_nodes(tmp_path):
    place = tmp_path / ".hs2pref-preflight-7-1-0"
    place.mkdir()
    (place / "1").write_text("of another start")
    result = result_of(shared_folder.look_at_shared_folder(tmp_path, Node("node0", 0, 2, "7-1-0"), wait_s=0.3))
    assert result.status == "failed"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def below_the_kernels(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(rendezvous, "PORT_RANGE", tmp_path / "range")
    (tmp_path / "range").write_text("1\t2\n")


def test_nodes_meet_and_leave_the_port_free(monkeypatch, tmp_path):
    below_the_kernels(monkeypatch, tmp_path)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    first, second = pair_of_nodes(lambda node: rendezvous.look_at_rendezvous(node, place, wait_s=10))
    assert (first.status, second.status) == ("ok", "ok"), (first, second)
    assert "all 2 nodes reach it" in first.text
    with socket.socket() as server:  # without SO_REUSEADDR: no connection is left waiting in it
        server.bind(("127.0.0.1", int(place["MASTER_PORT"])))


def test_node_that_does_not_come_is_named(monkeypatch, tmp_path):
    below_the_kernels(monkeypatch, tmp_path)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    result = result_of(rendezvous.look_at_rendezvous(Node("node0", 0, 3, "7"), place, wait_s=0.5))
    assert result.status == "failed" and "the nodes numbered 1, 2" in result.text
    lonely = result_of(rendezvous.look_at_rendezvous(Node("node1", 1, 3, "7"), place, wait_s=0.5))
    assert lonely.status == "failed" and "not reached from node1" in lonely.text


def test_port_in_use_and_host_without_address_fail(monkeypatch, tmp_path):
    below_the_kernels(monkeypatch, tmp_path)
    with socket.create_server(("", 0)) as server:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
        assert "is not free" in result_of(rendezvous.look_at_rendezvous(ALONE, place, wait_s=1)).text
    unknown = {"MASTER_ADDR": "no-such-host.invalid", "MASTER_PORT": "29400"}
    assert "has no address" in result_of(rendezvous.look_at_rendezvous(ALONE, unknown, wait_s=1)).text


def test_port_of_the_kernels_range_is_a_warning(monkeypatch, tmp_path):
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    result = result_of(rendezvous.look_at_rendezvous(ALONE, place, wait_s=1))
    assert result.status == "warning" and "hands out" in result.text
    assert result_of(rendezvous.look_at_rendezvous(ALONE, {}, wait_s=1)).status == "skipped"


def test_bandwidth_is_measured_and_held_to_its_floor():
    pytest.importorskip("torch")
    two = SimpleNamespace(trainer=SimpleNamespace(devices=2))
    place = {**os.environ, "MASTER_PORT": str(free_port())}
    found = list(bandwidth.look_at_bandwidth(two, ALONE, place, floor=1e6))
    assert [finding.status for finding in found] == ["failed", "ok"]
    assert "GB/s among 2 ranks by " in found[1].text and "at least 1e+06 was asked for" in found[0].text
    assert result_of(bandwidth.look_at_bandwidth(None, ALONE, {}, floor=0)).status == "skipped"


# --- command ---


@pytest.fixture
def as_checks(monkeypatch) -> Callable[..., None]:
    """Puts findings in the place of the machine's checks."""

    def install(**findings: Finding) -> None:
        listed = [Check(name, lambda f=finding: iter([f]), 60, "") for name, finding in findings.items()]
        monkeypatch.setattr("nemo_hs2pref.preflight.checks.machine_checks", lambda *_: listed)

    for name in ("SLURM_LOCALID", "SLURM_STEP_NUM_NODES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    return install


def test_exit_code_is_0_unless_something_failed(as_checks, capsys):
    as_checks(gpus=ok("8 GPUs"), limits=warning("little", "more"))
    assert main(["preflight"]) == 0
    printed = capsys.readouterr()
    assert "ok       gpus" in printed.out and "hint: more" in printed.out
    assert printed.out.endswith("node7: 1 warning, 1 ok\n") and printed.err == ""


def test_failed_check_fails_the_command_and_names_node_and_check(as_checks, capsys):
    as_checks(gpus=failed("none", "look"), limits=ok("fine"))
    assert main(["preflight"]) == 1
    assert capsys.readouterr().err == "hs2pref preflight: error: node7: 1 of 2 checks failed: gpus\n"


def test_check_without_an_answer_is_marked_for_the_job_script(monkeypatch, capsys):
    def listed(*_: object) -> list[Check]:
        return [Check("disk", never, 0.3, "look"), Check("data", lambda: iter([failed("no", "")]), 60, "")]

    monkeypatch.setattr("nemo_hs2pref.preflight.checks.machine_checks", listed)
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    assert main(["preflight"]) == 1
    assert capsys.readouterr().err.endswith("node7: 2 of 2 checks failed: disk (no answer), data\n")


def test_json_is_one_line_with_every_check(as_checks, capsys):
    as_checks(gpus=failed("none", "look"), limits=ok("fine"))
    assert main(["preflight", "--json"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert (said["node"], said["ok"]) == ("node7", False)
    assert {key: said["checks"][0][key] for key in ("name", "status", "text", "hint")} == {
        "name": "gpus", "status": "failed", "text": "none", "hint": "look"
    }  # fmt: skip
    assert said["checks"][0]["seconds"] >= 0


def test_other_nodes_say_what_is_not_well_alone(as_checks, capsys, monkeypatch):
    for name, value in {"SLURM_NODEID": "1", "SLURM_STEP_NUM_NODES": "2", "SLURM_JOB_ID": "7"}.items():
        monkeypatch.setenv(name, value)
    as_checks(gpus=warning("hot", "cool"), limits=ok("fine"))
    assert main(["preflight"]) == 0
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()] == [
        ["node7:", "warning", "gpus"], ["node7:", "hint:", "cool"], ["node7:", "1", "warning,"]
    ]  # fmt: skip


def test_second_process_of_a_node_does_nothing(monkeypatch, capsys):
    monkeypatch.setenv("SLURM_LOCALID", "1")
    monkeypatch.setattr(preflight, "look", None)
    assert main(["preflight"]) == 0 and capsys.readouterr().out == ""


def test_checks_can_be_left_out_by_name(as_checks, capsys):
    as_checks(gpus=failed("none", "look"), limits=ok("fine"))
    assert main(["preflight", "--skip", "gpus"]) == 0
    assert main(["preflight", "--skip", "gpu"]) == 2
    assert "no check gpu; there are gpus, limits" in capsys.readouterr().err


def test_configuration_that_cannot_be_read_ends_with_2(capsys):
    assert main(["preflight", "trainer.devises=8"]) == 2
    assert "trainer.devices" in capsys.readouterr().err


def test_the_checking_process_never_loads_torch():
    """It could not be given up while it waits for a file system, and forked processes must not inherit its threads."""
    program = "import sys, nemo_hs2pref.preflight.checks; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0


def test_every_check_has_a_row_in_the_docs_and_each_row_its_limit(monkeypatch):
    made: list[Check] = []
    monkeypatch.setattr(runner, "run", lambda listed: made.extend(listed) or iter(()))
    places = ("data.dir=d", "pretrained_checkpoint.restore_from_path=p", "exp_manager.explicit_log_dir=r")
    assert main(["preflight", "--wait", "0", "--bandwidth", "0", *places]) == 0

    text = (Path(__file__).parents[1] / "docs" / "cluster-containers.md").read_text()
    rows = re.findall(r"^\| (\w+)( \*)? \| .* \| (?:`--wait` \+ )?(\d+) \|$", text, flags=re.MULTILINE)
    assert [(c.name, " *" * c.first_node_only, f"{c.limit_s:g}") for c in made] == rows
