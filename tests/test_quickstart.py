"""What the quickstart writes and refuses; its steps themselves run in tests/nemo/test_runs.py."""

from dataclasses import replace
from pathlib import Path

import pytest

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.records import Message, PreferencePair
from nemo_hs2pref.errors import ConfigError, HS2PrefError
from nemo_hs2pref.evaluation.preferences import evaluate_pairs
from nemo_hs2pref.laptop import command, quoted
from nemo_hs2pref.quickstart import MARKER, STAGE_1, STAGE_2, clear, summarise, table
from nemo_hs2pref.recipes.rm import load_reward_model_config

PROMPT = (Message("user", "which?"),)
PAIRS = [PreferencePair(str(n), PROMPT, "longer text" if n < 3 else "x", "short", 1) for n in range(4)]


BRIEF = [replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in PAIRS]


def reports(correct: int, pairs: list[PreferencePair] = PAIRS) -> dict:
    """A model that is right on the first `correct` of four pairs, of which length gets three right."""
    scores = {f"{n}:chosen": float(n < correct) for n in range(4)} | {f"{n}:rejected": 0.5 for n in range(4)}
    report = evaluate_pairs(pairs, scores)
    return {name: {"validation": report, "train": report} for name in ("regression", "scaled_bt", "expo")}


def test_summary_has_the_promised_keys() -> None:
    summary = summarise(reports(correct=4), seconds=12.34)
    assert summary["seconds"] == 12.3 and summary["pairs"] == 4
    assert list(summary["models"]) == ["length_only", "regression", "scaled_bt", "expo"]
    assert summary["models"]["length_only"]["accuracy"] == 0.75
    assert summary["models"]["expo"].keys() == {"accuracy", "interval", "train_accuracy"}


@pytest.mark.parametrize("pairs", [PAIRS, BRIEF], ids=["longer is better", "shorter is better"])
@pytest.mark.parametrize(("correct", "told"), [(4, 0), (3, 3), (1, 3)])
def test_table_says_which_models_are_no_better_than_length(
    correct: int, told: int, pairs: list[PreferencePair]
) -> None:
    assert table(summarise(reports(correct, pairs), seconds=1)).count("no better than length alone") == told


def test_its_overrides_fit_the_configuration() -> None:
    given = ("data.dir=d", "pretrained_checkpoint.restore_from_path=p", "exp_manager.explicit_log_dir=l")
    for stage in (STAGE_1, STAGE_2):
        config, _ = load_reward_model_config([*stage, *given])
        assert config.model.optim.sched.min_lr == config.model.optim.lr


def test_a_folder_of_somebody_elses_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").touch()
    assert main(["quickstart", "--out", str(tmp_path)]) == 2
    assert "holds files that are not a quickstart's" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


def test_data_that_lack_something_are_refused_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nemo_hs2pref.quickstart.command", lambda words: pytest.fail(f"starts {words}"))
    out, data = tmp_path / "out", tmp_path / "data"
    for path in (out / MARKER, out / "summary.json", data / "pairs.train.jsonl", data / "ratings.train.jsonl"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}\n")
    (data / "ratings.validation.jsonl").touch()

    def refusal(source: Path) -> str:
        assert main(["quickstart", "--out", str(out), "--data", str(source)]) == 2
        return capsys.readouterr().err

    assert "ratings.validation.jsonl, pairs.validation.jsonl missing or empty" in refusal(data)
    for name in ("pairs.validation.jsonl", "ratings.validation.jsonl"):
        (data / name).write_text("{}\n")
    (data / "manifest.json").write_text('{"rows": 3}')
    assert "manifest.json: is no manifest of `hs2pref data prepare`" in refusal(data)
    (tmp_path / "official").mkdir()
    (tmp_path / "official" / "train.jsonl").write_text("{}\n")
    assert "validation.jsonl: no such file" in refusal(tmp_path / "official")
    assert "is no file and no folder" in refusal(tmp_path / "no such")
    assert (out / "summary.json").exists()  # an earlier quickstart's


def test_an_earlier_quickstart_is_replaced(tmp_path: Path) -> None:
    for name in (MARKER, "summary.json"):
        (tmp_path / name).touch()
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]
    (tmp_path / MARKER).unlink()
    (tmp_path / "mine").touch()
    with pytest.raises(ConfigError):
        clear(tmp_path)


def test_a_step_that_fails_stops_the_job(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HS2PrefError, match="`hs2pref convert` ended with exit code 2; its message is above"):
        command(["convert", "from-hf", "/no/such/model", "/no/such/place"])
    assert "/no/such/model: expected a Hugging Face folder" in capfd.readouterr().err


@pytest.mark.parametrize("path", ["/tmp/plain", "/tmp/a b", "/tmp/x=1, (y)", "/tmp/it's", "/tmp/ü", "1e5"])
def test_any_path_survives_hydras_grammar(path: str) -> None:
    given = ("pretrained_checkpoint.restore_from_path=p", "exp_manager.explicit_log_dir=l")
    config, _ = load_reward_model_config([f"data.dir={quoted(Path(path))}", *given])
    assert config.data.dir == path
