"""The table of recipes: a second one is one file and a row, and every command takes it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nemo_hs2pref.cli import main
from nemo_hs2pref.config import load
from nemo_hs2pref.config.footprint import Footprint
from nemo_hs2pref.config.rules.checking import Checkpoint
from nemo_hs2pref.config.schema.common import Loop, RunConfig, Trainer
from nemo_hs2pref.config.schema.fields import FREE, key, positive
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.jobs.validation import load_checked
from nemo_hs2pref.recipes import table
from nemo_hs2pref.recipes.recipe import Recipe, Training

ROOT = Path(__file__).parents[1]
PLACES = ["data.dir=d", "pretrained_checkpoint.restore_from_path=b", "exp_manager.explicit_log_dir=runs/echo"]
CONFIG = """
defaults:
  - optimizer: adamw
  - parallel: single
  - peft: none
  - _self_
  - model: llama_tiny
trainer:
  echo: {max_epochs: 1, max_steps: 5, val_check_interval: 0, save_interval: 0, limit_val_batches: -1,
         gradient_clip_val: 1.0}
echo: {times: 2, loud: false}
data: {dir: "???", train: rows.jsonl, validation: {}, template: extra_id, shuffle: true, packed_sequence: true}
"""


@dataclass
class EchoTrainer(Trainer):
    echo: Loop = field(default_factory=Loop)


@dataclass
class Echo:
    times: int = key(positive)
    loud: bool = key(may_change=FREE)


@dataclass
class EchoConfig(RunConfig):
    trainer: EchoTrainer = field(default_factory=EchoTrainer)
    echo: Echo = field(default_factory=Echo)

    @property
    def loop(self) -> Loop:
        return self.trainer.echo

    @property
    def unit(self) -> str:
        return "words"

    @property
    def footprint(self) -> Footprint:
        return Footprint(rows=1, ending=())


def odd(config: EchoConfig, checkpoint: Checkpoint) -> Iterator[str]:
    if config.echo.times % 2:
        yield f"echo.times={config.echo.times}: expected an even number"


def training() -> Training:
    raise NotImplementedError


@pytest.fixture(autouse=True)
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe[Any]:
    """A second recipe: its schema, its rule, its configuration, a row of the table."""
    conf = tmp_path / "conf"
    conf.mkdir()
    for path in (ROOT / "conf").iterdir():
        (conf / path.name).symlink_to(path)
    common = (ROOT / "conf" / "train_rm.yaml").read_text()
    sections = common[common.index("exp_manager:") : common.index("head:")].replace(
        "val_${loss.reads}_loss", "val_loss"
    )
    (conf / "train_echo.yaml").write_text(CONFIG + sections)
    monkeypatch.setattr(load, "config_dir", lambda: conf)
    recipe = Recipe("echo", "says it again", "train_echo", EchoConfig, (odd,), training)
    monkeypatch.setitem(table.RECIPES, "echo", recipe)
    return recipe


def test_train_has_it_in_its_help_and_prints_its_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "echo: says it again" in capsys.readouterr().out
    assert main(["train", "echo", "--print-config", *PLACES, "echo.times=4"]) == 0
    assert "times: 4" in capsys.readouterr().out


def test_its_rules_and_those_of_every_run_are_applied(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "echo", "--print-config", *PLACES, "echo.times=3", "model.optim.lr=0"]) == 2
    told = capsys.readouterr().err
    assert "echo.times=3: expected an even number" in told and "model.optim.lr=0" in told
    assert main(["train", "echo", "--print-config", *PLACES, "echo.times=-2"]) == 2
    assert "echo.times=-2: must be greater than 0" in capsys.readouterr().err
    assert main(["train", "echo", "--print-config", *PLACES, "head.bias=true"]) == 2
    assert "unknown key head.bias" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["echo"], ["--config-name", "train_echo"]])
def test_plan_counts_it_by_its_footprint(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words]) == 0
    told = capsys.readouterr().out
    assert "words" in told and "head" not in told


def test_a_job_checks_it(echo: Recipe[Any]) -> None:
    run = load_checked(["train", "echo", *PLACES])
    assert (run.recipe, run.config.echo.times) == (echo, 2)
    with pytest.raises(ConfigError, match="nothing of that name can be trained; there are rm, echo"):
        load_checked(["train", "nothing", *PLACES])


def test_its_keys_must_stay_unless_they_say_otherwise(echo: Recipe[Any]) -> None:
    stored = echo.load(PLACES)[1]
    echo.refuse_other_run("runs/echo", stored, echo.load([*PLACES, "echo.loud=true"])[1])
    with pytest.raises(ConfigError, match=r"holds a run with echo\.times=2, asked for is 4"):
        echo.refuse_other_run("runs/echo", stored, echo.load([*PLACES, "echo.times=4"])[1])


def test_a_stored_configuration_says_whose_it_is(echo: Recipe[Any]) -> None:
    assert table.recipe_in(echo.load(PLACES)[1]) is echo
    assert table.recipe_in({}) is table.DEFAULT


def test_names_that_do_not_belong_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "echo", "--config-name", "train_rm"]) == 2
    assert "--config-name train_rm is of rm, asked for is echo" in capsys.readouterr().err
    assert main(["plan", "nothing"]) == 2
    assert "nothing of that name can be trained" in capsys.readouterr().err
