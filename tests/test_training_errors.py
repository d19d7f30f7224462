"""What stops a training run before NeMo is imported: one sentence, exit code 2, and no run folder."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.small_models.tiny import write_llama_tiny
from nemo_hs2pref.checkpoint.torch_dist.refusals import reason_not_written
from nemo_hs2pref.cli import main
from nemo_hs2pref.cli.processes import explained, killed
from nemo_hs2pref.data.records import read_jsonl
from nemo_hs2pref.errors import DataError, HS2PrefError, MachineError, OtherRankError
from nemo_hs2pref.run_state import StateFile, read_failure
from nemo_hs2pref.runtime.platform import machine
from nemo_hs2pref.runtime.process import ranks, stop_signals
from nemo_hs2pref.runtime.process.ranks import Ranks

TIME_LIMIT_S = 120
HEAD = {
    "attributes": ["helpfulness", "correctness"],
    "reward_weights": [1.0, 0.0],
    "bias": False,
    "template": "extra_id",
}
ARCHITECTURE = {"num_layers": 4, "hidden_size": 256, "num_attention_heads": 8, "num_query_groups": 4, "head": HEAD}
PAIR = {"id": "a", "prompt": "How?", "chosen": "So.", "rejected": "No.", "strength": 2}
RATING = {
    "id": "a",
    "messages": [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "So."}],
    "attributes": {"helpfulness": 3},
}


def lines(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is read of a checkpoint before its tensors are."""
    folder = tmp_path_factory.mktemp("checkpoint")
    write_llama_tiny(folder / "tokenizer")
    (folder / "model_weights").mkdir()
    (folder / "model_weights" / "metadata.json").touch()
    (folder / "model_config.yaml").write_text(yaml.safe_dump(ARCHITECTURE))
    return folder


@pytest.fixture
def words(base: Path, tmp_path: Path) -> list[str]:
    """`hs2pref train rm ...` that would start: stage 2 on four pairs."""
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "validation"):
        (data / f"pairs.{split}.jsonl").write_text(lines(*({**PAIR, "id": str(i)} for i in range(4))))
        (data / f"ratings.{split}.jsonl").write_text(lines(*({**RATING, "id": str(i)} for i in range(4))))
    return [
        *("train", "rm", "experiment=rm_stage2_scaled_bt", "model=llama_tiny", "model.global_batch_size=2"),
        *("head.load_rm_head_weights=false", f"data.dir={data}", f"exp_manager.explicit_log_dir={tmp_path / 'run'}"),
        f"pretrained_checkpoint.restore_from_path={base}",
    ]


@pytest.fixture
def sentence(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """What the command says when it refuses, with more overrides; it has left nothing behind."""
    monkeypatch.setattr(machine, "prepare", lambda: pytest.fail("the fault is found after NeMo is imported"))

    def refuse(*overrides: str) -> str:
        assert main([*words, *overrides]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1, captured
        assert not (tmp_path / "run").exists()
        return captured.err.removeprefix("hs2pref train: error: ").removesuffix("\n")

    return refuse


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '{"tool": "somebody\'s", "rows": 4}',
            "is no manifest of `hs2pref data prepare` (the document has no 'outputs')",
        ),
        ("[1]", "is no manifest of `hs2pref data prepare`"),
        ('{"outputs": {"pairs', "is no manifest of `hs2pref data prepare` (not JSON (Unterminated string"),
    ],
)
def test_a_manifest_of_somebody_elses_is_refused_by_name(
    text: str, told: str, words: list[str], sentence: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "data" / "manifest.json").write_text(text)
    message = sentence()
    assert f"{tmp_path / 'data' / 'manifest.json'}: {told}" in message
    assert "move this file away: without a manifest the rows are read as they are" in message


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ('{"id": "b", ', "not JSON"),
        (lines({key: value for key, value in PAIR.items() if key != "chosen"}), 'no "chosen"; the keys are id'),
        (lines({**PAIR, "strength": 4}), '"strength" is 4'),
        (lines({**PAIR, "strength": None}), 'no "strength"; the margin and scaled losses need 1, 2 or 3'),
        (lines({**PAIR, "rejected": " "}), '"rejected" is '),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(
    fault: str, message: str, sentence: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / "data" / "pairs.train.jsonl"
    file.write_text(lines({**PAIR, "id": "first"}) + fault)
    assert sentence().startswith(f"{file}:2: {message}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"attributes": {"helpfulness": "high"}}, "helpfulness = 'high'; expected a finite number"),
        ({"messages": RATING["messages"][:1]}, 'the last message must have the role "assistant"'),
        ({"messages": [RATING["messages"][0], {"role": "assistant", "content": ""}]}, "of the assistant, is empty"),
    ],
)
def test_a_rating_that_cannot_be_used_is_named_by_file_and_line(
    row: dict, message: str, sentence: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / "data" / "ratings.validation.jsonl"
    file.write_text(lines({**RATING, "id": "first"}, {**RATING, **row}))
    refusal = sentence("experiment=rm_stage1_helpfulness")
    assert refusal.startswith(f"{file}:2: ") and message in refusal


def test_a_pair_longer_than_the_limit_is_named_with_its_length(sentence: Callable[..., str]) -> None:
    message = sentence("model.encoder_seq_length=8")
    assert "8 rows are longer than model.encoder_seq_length=8 tokens, the first is '0:chosen' with " in message


def test_data_that_does_not_fill_a_batch_stops_with_what_to_set(sentence: Callable[..., str]) -> None:
    assert "4 training items x 1 epochs do not fill one global batch of 8" in sentence("model.global_batch_size=8")


def test_a_data_folder_without_the_file_is_named(sentence: Callable[..., str], tmp_path: Path) -> None:
    message = sentence(f"data.dir={tmp_path}")
    assert message == f"{tmp_path}/pairs.train.jsonl: cannot be read (No such file or directory)"


def test_a_checkpoint_of_another_size_is_named_with_both_sizes(sentence: Callable[..., str], base: Path) -> None:
    assert f"model.hidden_size=576, but the checkpoint {base} has 256" in sentence("model.hidden_size=576")


def test_a_head_with_another_number_of_attributes_is_refused(sentence: Callable[..., str]) -> None:
    message = sentence(
        "head.load_rm_head_weights=true", "head.attributes=[helpfulness]", "head.reward_weights=[1]",
        "data.attributes=[helpfulness]",
    )  # fmt: skip
    assert message == ("head.attributes=['helpfulness'], but the checkpoint's head has ['helpfulness', 'correctness']")


def test_a_folder_that_is_no_checkpoint_is_named(sentence: Callable[..., str], tmp_path: Path) -> None:
    message = sentence(f"pretrained_checkpoint.restore_from_path={tmp_path}")
    assert message.startswith(f"{tmp_path}: no checkpoint (model_config.yaml not found)")


def test_an_unknown_override_stops_with_the_nearest_key(sentence: Callable[..., str]) -> None:
    assert sentence("model.otpim.lr=1e-6") == "unknown key model.otpim.lr; did you mean model.optim.lr?"


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (
            ("trainer.devices=3", "model.pipeline_model_parallel_size=3"),
            "does not divide num_layers 4; possible: 1, 2, 4",
        ),
        (
            ("trainer.devices=3", "model.tensor_model_parallel_size=2"),
            "tensor 2 x pipeline 1 = 2 does not divide 1 nodes",
        ),
    ],
)
def test_a_layout_that_the_model_refuses_stops_with_the_sizes(
    layout: tuple[str, ...], message: str, sentence: Callable[..., str]
) -> None:
    assert message in sentence(*layout)


def test_the_reason_that_a_checkpoint_was_not_written_is_found_below_upstreams_errors() -> None:
    refused = OSError(errno.ENOSPC, "No space left on device")
    wrapped = RuntimeError("Worker failure: [Errno 28] No space left on device")
    wrapped.__cause__ = refused
    assert reason_not_written(refused) == reason_not_written(wrapped) == "No space left on device"
    assert reason_not_written(RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos")) is not None
    assert reason_not_written(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")) is None
    assert reason_not_written(ValueError("a bug")) is None


MENDED_BY_THE_USER = ("ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS")
OF_THE_MACHINE = ("EIO", "ESTALE", "ETIMEDOUT", "ENOTCONN")


@pytest.mark.parametrize("name", [*MENDED_BY_THE_USER, *OF_THE_MACHINE])
@pytest.mark.parametrize("what", ["checkpoint", "run state", "rows"])
def test_what_another_node_may_do_is_no_mistake_of_the_users(
    what: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 is never requeued, 1 is, and counted; one sentence is both."""
    number = getattr(errno, name)
    reason = os.strerror(number)

    def refuse(*_: object) -> None:
        raise OSError(number, reason)

    with pytest.raises(HS2PrefError, match=rf"{tmp_path}.*: cannot be (written|read) \({reason}\)") as told:
        if what == "checkpoint":
            with layout.written_whole(tmp_path / "out"):
                try:
                    refuse()
                except OSError as error:
                    raise RuntimeError("Worker failure") from error  # as upstream hides it
        elif what == "run state":
            monkeypatch.setattr(os, "replace", refuse)
            StateFile(tmp_path, step=0, num_steps=10, checkpoint=None, started=time.time())
        else:
            monkeypatch.setattr("builtins.open", refuse)
            list(read_jsonl(tmp_path / "pairs.jsonl"))
    monkeypatch.undo()
    assert told.value.exit_code == explained(told.value)[1] == (2 if name in MENDED_BY_THE_USER else 1)


@pytest.mark.parametrize(("error", "code"), [(DataError("d"), 2), (MachineError("m"), 1)])
def test_the_command_line_ends_with_the_errors_own_code(
    error: HS2PrefError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("nemo_hs2pref.launch.jobs.status.read_status", fail)
    assert main(["status", "run"]) == code
    assert capsys.readouterr().err == f"hs2pref status: error: {error}\n"


# --- several ranks: the first cause ---


def rank_pair() -> tuple[Ranks, Ranks]:
    store = torch.distributed.HashStore()
    return Ranks(store, 0, 2), Ranks(store, 1, 2)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the seconds."""
    for name in ("PATIENCE_S", "LONG_PATIENCE_S", "FAREWELL_S"):
        monkeypatch.setattr(ranks, name, getattr(ranks, name) / 10)


@pytest.mark.usefixtures("hasty")
def test_the_first_rank_to_fail_speaks_and_the_others_take_its_exit_code() -> None:
    first, second = rank_pair()
    spoken: list[str] = []
    assert second.fail(DataError("d"), 2, spoken.append) == 2
    assert first.fail(RuntimeError("Connection closed by peer"), 1, spoken.append) == 2
    assert spoken == ["rank 1: "]


@pytest.mark.parametrize("consequence", [RuntimeError("Connection closed by peer"), OtherRankError("rank 0 failed")])
def test_a_consequence_that_is_seen_first_lets_the_cause_speak(
    consequence: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = rank_pair()
    spoken: list[str] = []
    waits, wait = threading.Event(), ranks.wait

    def noted_wait(seconds: float, until: Callable[[], bool]) -> None:
        if seconds:
            waits.set()
            wait(TIME_LIMIT_S, until)  # however long the cause takes on this machine

    monkeypatch.setattr(ranks, "wait", noted_wait)
    thread = threading.Thread(target=second.fail, args=(consequence, 1, spoken.append))
    thread.start()
    assert waits.wait(TIME_LIMIT_S)
    assert first.fail(DataError("d"), 2, spoken.append) == 2
    thread.join()
    assert spoken == ["rank 0: "]


@pytest.mark.usefixtures("hasty")
def test_a_rank_without_a_store_speaks_for_itself() -> None:
    server = torch.distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    client = torch.distributed.TCPStore("localhost", server.port, is_master=False)
    spoken: list[str] = []
    del server
    assert Ranks(client, 1, 2).fail(DataError("d"), 2, spoken.append) == 2
    assert spoken == ["rank 1: "]


def test_a_rank_that_cannot_join_tells_the_run_folder_why(words: list[str], tmp_path: Path) -> None:
    """A GPU is gone that preflight has seen."""
    (tmp_path / "run").mkdir()
    (tmp_path / "sitecustomize.py").write_text(
        "import torch\ntorch.cuda.is_available = lambda: True\ntorch.cuda.device_count = lambda: 7\n"
    )
    environ = os.environ | {"RANK": "15", "LOCAL_RANK": "7", "WORLD_SIZE": "16", "MASTER_ADDR": "localhost"}
    environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path[1:]])
    command = [sys.executable, "-m", "nemo_hs2pref.cli", *words]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=TIME_LIMIT_S, env=environ)
    assert done.stderr.startswith("hs2pref train: error: rank 15: process 7 of its node sees 7 GPU(s); ")
    assert done.stderr.count("\n") == 1
    failure = read_failure(tmp_path / "run")
    assert failure is not None and (failure.rank, failure.exit_code, done.returncode) == (15, 1, 1)


def test_no_failure_outlasts_ten_seconds() -> None:
    assert ranks.LONG_PATIENCE_S + ranks.FAREWELL_S < 10
    assert ranks.PATIENCE_S + ranks.FAREWELL_S < ranks.LONG_PATIENCE_S


def test_a_rank_that_was_killed_is_spoken_for() -> None:
    assert killed(1, -signal.SIGKILL) == "rank 1 was killed by signal 9 (SIGKILL); was there too little memory?"
    assert killed(3, -signal.SIGSEGV) == "rank 3 was killed by signal 11 (SIGSEGV)"


def test_a_rank_that_is_told_to_end_while_it_looks_for_a_cause_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another rank was killed: it has told nobody, and srun ends the rest."""
    monkeypatch.setitem(stop_signals.received, "SIGTERM", time.monotonic())
    spoken: list[str] = []
    rank, _ = rank_pair()
    assert rank.fail(RuntimeError("Connection closed by peer"), 1, spoken.append) == 143
    assert spoken == []


def test_two_ranks_that_read_the_same_bad_row_say_it_once(words: list[str], tmp_path: Path) -> None:
    with (tmp_path / "data" / "pairs.train.jsonl").open("a") as file:
        file.write("{\n")
    command = [sys.executable, "-m", "nemo_hs2pref.cli", *words, "parallel=tp2"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIME_LIMIT_S)
    assert done.returncode == 2
    assert done.stdout.startswith("hs2pref train: error: rank ") and done.stdout.count("\n") == 1, done.stdout
    assert f"{tmp_path}/data/pairs.train.jsonl:5: not JSON" in done.stdout
    assert not (tmp_path / "run").exists()
