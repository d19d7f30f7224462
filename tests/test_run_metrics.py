"""metrics.jsonl after a kill, a crash, a second start: what is lost is said, and nothing else is."""

import json
import logging
from pathlib import Path

import pytest

from nemo_hs2pref.errors import DataError
from nemo_hs2pref.recipes.rm import load_reward_model_config
from nemo_hs2pref.run_metrics import Lost, cut_after, read_metrics
from nemo_hs2pref.runtime.run.run_log import RunLog


def line(step: int, kind: str = "train") -> str:
    return json.dumps({"kind": kind, "step": step, "loss": float("nan"), "lr": 1e-06}) + "\n"


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """Of five steps and a validation; a kill has cut the line of the sixth."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(map(line, range(1, 6))) + line(5, "val") + '{"kind": "tra')
    return path


def test_lines_after_a_step_go_and_the_others_stay_as_they_are(metrics: Path) -> None:
    assert [row["step"] for row in read_metrics(metrics)] == [1, 2, 3, 4, 5, 5]
    assert cut_after(metrics, 3) == Lost(cut=1, steps=[])
    assert metrics.read_text() == line(1) + line(2) + line(3)
    assert not list(metrics.parent.glob(".*"))


def test_what_a_crash_has_left_at_the_end_is_cut_short(metrics: Path) -> None:
    metrics.write_text(line(1) + "\0" * 50 + "\n" + '{"kind": "train"}\n')
    assert cut_after(metrics, 3) == Lost(cut=2, steps=[2, 3])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        ('{"kind": "train", "step": "2"}', "'step' is '2', expected a whole number"),
        ("[]", "the document is a list, expected an object"),
        ("", "not JSON (Expecting value: line 1 column 1 (char 0))"),
    ],
)
def test_a_bad_line_before_a_good_one_is_named_and_nothing_is_changed(metrics: Path, bad: str, said: str) -> None:
    before = line(1) + bad + "\n" + line(3)
    metrics.write_text(before)
    for read in (read_metrics, lambda path: cut_after(path, 1)):
        with pytest.raises(DataError) as refusal:
            read(metrics)
        hint = "remove the line, or move the file away: checkpoints do not rest on it"
        assert str(refusal.value) == f"{metrics}:2: {said}; {hint}"
    assert metrics.read_text() == before


def test_a_run_that_goes_on_says_which_lines_are_lost(metrics: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = metrics.parent
    places = ["data.dir=d", "pretrained_checkpoint.restore_from_path=p", f"exp_manager.explicit_log_dir={folder}"]
    config, resolved = load_reward_model_config([*places, "exp_manager.create_tensorboard_logger=false"])
    metrics.write_text("".join(map(line, (1, 2, 5))))
    with caplog.at_level(logging.WARNING):
        RunLog(config.exp_manager, resolved, step=5, num_steps=10).close()
    assert caplog.messages == [f"{metrics}: of the lines of steps 1 to 5 2 are lost, the first is that of step 3"]
