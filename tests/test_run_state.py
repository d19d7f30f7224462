"""What a run tells of itself in its folder."""

import json
import os
import time
from pathlib import Path

import pytest

from nemo_hs2pref import run_state
from nemo_hs2pref.cli import main
from nemo_hs2pref.errors import TrainingError
from nemo_hs2pref.recipes.rm import RECIPE, load_reward_model_config
from nemo_hs2pref.run_state import (
    PHASES,
    StateFile,
    read_failure,
    read_finished,
    read_state,
    record_failure,
)
from nemo_hs2pref.runtime.process.wall_clock import WallClock
from nemo_hs2pref.runtime.run.run_log import RunLog
from nemo_hs2pref.runtime.run.run_monitor import RunMonitor

NOON = "2026-11-21T12:00:00.000+00:00"


def start(folder: Path, *, step: int = 0, checkpoint: str | None = None, started: float | None = None) -> StateFile:
    started = time.time() if started is None else started
    return StateFile(folder, step=step, num_steps=10, checkpoint=checkpoint, started=started)


def test_a_folder_without_a_run_has_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path) is read_failure(tmp_path) is read_finished(tmp_path) is None


def test_the_state_follows_the_run(tmp_path: Path) -> None:
    monitor = RunMonitor(start(tmp_path), WallClock(float("inf"), margin_s=0))
    phases: list[tuple[str, int, int]] = []

    def look() -> None:
        state = read_state(tmp_path)
        assert state is not None
        phases.append((state.phase, state.step, state.checkpoint_step))

    look()
    monitor.trained(1)
    look()
    monitor.validating()
    look()
    with monitor.saving(1):
        look()
    look()
    assert phases == [
        ("starting", 0, 0), ("training", 1, 0), ("validating", 1, 0), ("saving", 1, 0), ("training", 1, 1),
    ]  # fmt: skip
    assert {phase for phase, *_ in phases} <= set(PHASES)
    assert not list(tmp_path.glob(".*"))


def test_a_save_that_fails_is_no_checkpoint(tmp_path: Path) -> None:
    monitor = RunMonitor(start(tmp_path), None)
    with pytest.raises(OSError), monitor.saving(4):
        raise OSError
    state = read_state(tmp_path)
    assert state is not None and (state.phase, state.checkpoint) == ("saving", None)


def test_a_new_start_counts_the_earlier_and_forgets_how_they_ended(tmp_path: Path) -> None:
    first = start(tmp_path)
    first.note(checkpoint="checkpoints/last", checkpoint_step=3, save_s=7.5)
    record_failure(tmp_path, rank=1, message="the disk is full", exit_code=2)
    failure, failed = read_failure(tmp_path), read_state(tmp_path)
    assert failure is not None and (failure.rank, failure.message, failure.exit_code) == (1, "the disk is full", 2)
    assert failed is not None and failed.phase == "failed"

    second = start(tmp_path, step=3, checkpoint="checkpoints/last", started=time.time() + 1).state
    assert read_failure(tmp_path) is None
    assert (second.phase, second.starts, second.step, second.checkpoint_step, second.save_s) == (
        "starting", 2, 3, 3, 7.5,
    )  # fmt: skip


def test_a_failure_of_this_start_that_another_rank_was_first_to_write_stays(tmp_path: Path) -> None:
    record_failure(tmp_path, rank=1, message="a bad row", exit_code=2)
    StateFile(tmp_path, step=0, num_steps=10, checkpoint=None, started=time.time() - 60)
    assert read_failure(tmp_path) is not None


def test_a_failure_before_there_is_a_folder_leaves_none_behind(tmp_path: Path) -> None:
    record_failure(tmp_path / "run", rank=0, message="a bad row", exit_code=2)
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_known_by_what_was_asked_for(tmp_path: Path) -> None:
    places = ["data.dir=d", "pretrained_checkpoint.restore_from_path=p", "exp_manager.explicit_log_dir=l"]

    def asked(*overrides: str) -> dict:
        return RECIPE.identity(load_reward_model_config([*places, *overrides])[1])

    state = start(tmp_path)
    state.note(step=10, checkpoint="checkpoints/last", checkpoint_step=10)
    state.finish(asked())
    done = read_finished(tmp_path)
    assert done is not None and (done.step, done.checkpoint) == (10, "checkpoints/last")
    assert done.run == asked("model.micro_batch_size=2", "exp_manager.max_time_per_run=1:00:00")
    for other in (
        *("trainer.rm.max_epochs=2", "loss=scaled_bt", "exp_manager.create_early_stopping_callback=true"),
        *("trainer.precision=32", "trainer.rm.gradient_clip_val=0.5", "head.load_rm_head_weights=true"),
        "model.encoder_seq_length=1000",
    ):
        assert done.run != asked(other)

    start(tmp_path, step=10, checkpoint="checkpoints/last")  # a longer run
    assert read_finished(tmp_path) is None


def test_a_file_of_another_version_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    start(tmp_path)
    file = tmp_path / "run_state.json"
    stored = json.loads(file.read_text())
    del stored["reason"]
    file.write_text(json.dumps(stored | {"new": 1}))
    state = read_state(tmp_path)
    assert state is not None and state.reason == ""


@pytest.mark.parametrize("content", ["", '{"phase": "trai', "\0" * 40])
@pytest.mark.parametrize("name", ["run_state.json", "failure.json", "finished.json"])
def test_a_file_that_a_crash_has_emptied_stops_no_run(
    tmp_path: Path, name: str, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / name).write_text(content)
    assert read_state(tmp_path) is read_failure(tmp_path) is read_finished(tmp_path) is None
    assert f"{tmp_path / name}: cannot be read" in caplog.text
    start(tmp_path)
    state = read_state(tmp_path)
    assert state is not None and (state.phase, state.starts) == ("starting", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"run_state.json"}


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        (
            "run_state.json",
            {"checkpoint_step": "RUN[$(touch x)]0"},
            "'checkpoint_step' is 'RUN[$(touch x)]0', expected ",
        ),
        ("run_state.json", {"phase": "gone"}, "'phase' is 'gone', expected 'starting' or 'training' or "),
        ("run_state.json", {"updated": "noon"}, "the document has 'updated' 'noon', which is no time in ISO 8601"),
        ("run_state.json", {"step": None}, "'step' is null, expected a whole number"),
        ("failure.json", {"message": 3}, "'message' is 3, expected text"),
        ("failure.json", None, "the document is null, expected an object"),
        ("finished.json", {"run": []}, "'run' is a list, expected an object"),
    ],
)
def test_json_with_something_else_in_it_is_one_sentence(
    tmp_path: Path, name: str, changes: dict | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {
        "run_state.json": {"phase": "training", "step": 3, "num_steps": 9, "started": NOON, "updated": NOON},
        "failure.json": {"rank": 1, "message": "a bad row", "exit_code": 2, "time": NOON},
        "finished.json": {"step": 9, "checkpoint": "checkpoints/last", "run": {}, "time": NOON},
    }[name]
    (tmp_path / name).write_text(json.dumps(changes if changes is None else whole | changes))
    read = {"run_state.json": read_state, "failure.json": read_failure, "finished.json": read_finished}[name]
    with pytest.raises(TrainingError) as refusal:
        read(tmp_path)
    assert str(refusal.value).startswith(f"{tmp_path / name}: {said}")
    assert str(refusal.value).endswith("; remove the file, the checkpoints tell where the run stands")
    if name != "finished.json":
        assert main(["status", str(tmp_path)]) == 2
        assert capsys.readouterr().err == f"hs2pref status: error: {refusal.value}\n"


def test_a_state_that_is_lost_is_told_by_the_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = tmp_path / "checkpoints" / "last"
    (last / "training_state").mkdir(parents=True)
    (last / "training_state" / "metadata.json").touch()
    (last / "hs2pref.json").write_text('{"step": 40}')
    assert read_state(tmp_path) is None  # nothing to recover: none has started, or it is to begin anew
    (tmp_path / "run_state.json").touch()
    state = read_state(tmp_path)
    assert state is not None and (state.step, state.checkpoint, state.checkpoint_step) == (40, "checkpoints/last", 40)
    assert main(["status", str(tmp_path)]) == 3
    assert f"last checkpoint {last} of step 40" in capsys.readouterr().out


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What of the file system's calls was made, in order: the content of a file that is synced, the name it takes."""
    calls: list[object] = []
    fsync, rename = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        calls.append(json.loads(Path(f"/proc/self/fd/{descriptor}").read_text()).get("checkpoint_step", "?"))

    def noted_rename(source: Path, target: Path) -> None:
        rename(source, target)
        calls.append(target.name)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_rename)
    return calls


def test_the_state_is_on_the_disk_before_it_takes_its_name(tmp_path: Path, synced: list[object]) -> None:
    start(tmp_path).note(checkpoint="checkpoints/last", checkpoint_step=3)
    record_failure(tmp_path, rank=1, message="the disk is full", exit_code=2)
    assert synced == [0, "run_state.json", 3, "run_state.json", "?", "failure.json"]


def test_steps_wait_for_the_disk_once_a_second_at_most(
    tmp_path: Path, synced: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = start(tmp_path)
    for step in range(1, 5):
        state.note(phase="training", step=step)
    assert synced.count("run_state.json") == 2  # the start, the new phase
    state.note(phase="saving")
    after = read_state(tmp_path)
    assert after is not None and (after.phase, after.step) == ("saving", 4)
    monkeypatch.setattr(run_state, "MOST_OFTEN_S", 0.0)
    state.note(step=5)
    after = read_state(tmp_path)
    assert after is not None and after.step == 5


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    """The device /dev/full answers every write as a full disk does."""
    places = ["data.dir=d", "pretrained_checkpoint.restore_from_path=p", f"exp_manager.explicit_log_dir={tmp_path}"]
    config, resolved = load_reward_model_config([*places, "exp_manager.create_tensorboard_logger=false"])
    log = RunLog(config.exp_manager, resolved, step=0, num_steps=10)
    log.file.close()
    log.file = open("/dev/full", "w")  # noqa: SIM115
    expected = (
        f"{tmp_path}/metrics.jsonl: cannot be written (No space left on device); put that right and start again, "
        "the run goes on from its last checkpoint"
    )
    for action in (lambda: log.train(1, {"loss": 1.0}), log.close):  # on the way out too
        with pytest.raises(TrainingError) as refusal:
            action()
        assert str(refusal.value) == expected
