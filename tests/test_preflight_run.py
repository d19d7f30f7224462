"""`hs2pref preflight` of a run: checkpoint, text, data, disk and accounts, each when all is well and when it is not."""

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from families import edit_json, edit_yaml
from omegaconf import OmegaConf

from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.file_list import FILE_LIST
from nemo_hs2pref.cli import main
from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.data.preparation.length import LengthLimit
from nemo_hs2pref.data.preparation.prepare import Options, prepare
from nemo_hs2pref.errors import HS2PrefError
from nemo_hs2pref.preflight import accounts, disk, rows, shared_folder, stored, tokens, versions
from nemo_hs2pref.preflight.check import Finding, Result, failed
from nemo_hs2pref.preflight.node import Node
from nemo_hs2pref.recipes.rm import RECIPE, load_reward_model_config

NumberedFiles = namedtuple("NumberedFiles", "f_bavail f_frsize f_files f_favail")
MAX_LENGTH = 1024


@pytest.fixture(scope="session")
def prepared(reward_nemo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "data"
    limit = LengthLimit(MAX_LENGTH, str(reward_nemo / layout.TOKENIZER))
    prepare("sample", folder, Options(limit=limit))
    return folder


@pytest.fixture
def data(prepared: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(prepared, tmp_path / "data")


@pytest.fixture
def config_of(nemo: Path, data: Path, tmp_path: Path) -> Callable[..., RewardModelConfig]:
    """The configuration of a run that starts from the random reward model and reads the sample."""

    def make(*overrides: str) -> RewardModelConfig:
        places = [f"data.dir={data}", f"pretrained_checkpoint.restore_from_path={nemo}"]
        places += [f"exp_manager.explicit_log_dir={tmp_path / 'run'}", f"model.encoder_seq_length={MAX_LENGTH}"]
        chosen = ["experiment=rm_stage1_helpfulness", "model=llama_tiny"]
        return load_reward_model_config([*chosen, *places, *overrides])[0]

    return make


def result_of(findings: Iterator[Finding]) -> Result:
    """As the runner makes it."""
    found: list[Finding] = []
    try:
        found.extend(findings)
    except HS2PrefError as error:
        found.append(failed(str(error), ""))
    return Result.of("check", found, 0.0)


# --- checkpoint ---


def test_whole_checkpoint_that_fits_is_fine(config_of):
    result = result_of(stored.look_at_checkpoint(RECIPE, config_of()))
    assert result.status == "ok" and "4 layers, 256 hidden; TP 1 x PP 1 can be" in result.text


def test_layout_that_does_not_fit_names_the_rule(config_of):
    result = result_of(
        stored.look_at_checkpoint(RECIPE, config_of("trainer.devices=3", "model.tensor_model_parallel_size=3"))
    )
    assert result.status == "failed" and "does not divide num_attention_heads 8" in result.text


def test_weight_file_that_is_cut_short_or_missing_is_named(config_of, nemo):
    file = next((nemo / layout.WEIGHTS).glob("*.distcp"))
    os.truncate(file, file.stat().st_size // 2)
    cut = result_of(stored.look_at_checkpoint(RECIPE, config_of()))
    assert cut.status == "failed" and file.name in cut.text and "copy the checkpoint again" in cut.text
    file.unlink()
    assert "not found" in result_of(stored.look_at_checkpoint(RECIPE, config_of())).text


def test_small_file_that_was_changed_is_told_by_its_size(config_of, nemo):
    tokenizer = nemo / layout.TOKENIZER / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    result = result_of(stored.look_at_checkpoint(RECIPE, config_of()))
    assert result.status == "failed" and f"{tokenizer} has" in result.text and "verify" in result.hint
    (nemo / FILE_LIST).write_text("{")
    assert "not JSON" in result_of(stored.look_at_checkpoint(RECIPE, config_of())).text


def test_checkpoint_that_is_not_there_fails(config_of, nemo):
    shutil.rmtree(nemo)
    assert result_of(stored.look_at_checkpoint(RECIPE, config_of())).status == "failed"
    paths = result_of(shared_folder.look_at_paths(config_of()))
    assert paths.status == "failed" and f"restore_from_path: {nemo} is not there" in paths.text and paths.hint


def test_paths_that_are_there_are_fine(config_of):
    assert result_of(shared_folder.look_at_paths(config_of())).status == "ok"


def test_run_folder_with_another_run_is_refused_and_with_this_one_goes_on(config_of, nemo, tmp_path):
    places = [f"pretrained_checkpoint.restore_from_path={nemo}", f"exp_manager.explicit_log_dir={tmp_path / 'run'}"]
    config, resolved = load_reward_model_config(["model=llama_tiny", "data.dir=d", *places])
    assert result_of(stored.look_at_resume_state(RECIPE, config, resolved)).status == "skipped"

    last = shutil.copytree(nemo, tmp_path / "run" / "checkpoints" / "last")
    (last / FILE_LIST).unlink()
    of_no_run = result_of(stored.look_at_resume_state(RECIPE, config, resolved))  # no run begins anew over it
    assert of_no_run.status == "failed" and "has no 'step'" in of_no_run.text
    edit_json(last / layout.MANIFEST, run=json.loads(json.dumps(plain(resolved))), step=40, read={})
    assert result_of(stored.look_at_resume_state(RECIPE, config, resolved)).text == "goes on after step 40"

    resolved.model.optim.lr = 0.5
    other = result_of(stored.look_at_resume_state(RECIPE, config, resolved))
    assert other.status == "failed" and "asked for is 0.5" in other.text


def plain(config: Any) -> Any:
    return OmegaConf.to_container(config)


# --- text ---


def test_template_of_the_head_is_compared(config_of):
    assert result_of(tokens.look_at_template(config_of())).status == "ok"
    fresh = result_of(tokens.look_at_template(config_of("data.template=llama3", "head.load_rm_head_weights=false")))
    assert fresh.status == "warning" and "was trained on extra_id" in fresh.text
    kept = result_of(tokens.look_at_template(config_of("data.template=llama3", "head.load_rm_head_weights=true")))
    assert (kept.status, kept.hint) == ("failed", "data.template=extra_id")


def test_tokenizer_loads_and_fits_the_embedding(config_of, nemo):
    result = result_of(tokens.look_at_tokenizer(config_of()))
    assert result.status == "ok" and "260 tokens" in result.text

    from transformers import AutoTokenizer

    larger = AutoTokenizer.from_pretrained(nemo / layout.TOKENIZER)
    larger.add_tokens([f"<new{i}>" for i in range(2000)])
    larger.save_pretrained(nemo / layout.TOKENIZER)
    tokens.load_tokenizer.cache_clear()
    result = result_of(tokens.look_at_tokenizer(config_of()))
    assert result.status == "failed" and "the tokenizer has 2260 tokens" in result.text


def test_tokenizer_that_cannot_take_the_template_or_is_missing_fails(config_of, nemo):
    tokens.load_tokenizer.cache_clear()
    result = result_of(tokens.look_at_tokenizer(config_of("data.template=llama3")))
    assert result.status == "failed" and "is not one token" in result.text
    shutil.rmtree(nemo / layout.TOKENIZER)
    tokens.load_tokenizer.cache_clear()
    assert "cannot be loaded" in result_of(tokens.look_at_tokenizer(config_of())).text


# --- data ---


def test_prepared_rows_are_known_by_their_manifest(config_of):
    result = result_of(rows.look_at_data(config_of()))
    assert result.status == "ok" and "ratings.train.jsonl" in result.text
    assert result_of(rows.look_at_preparation(config_of())).status == "ok"


def test_rows_that_changed_are_told(config_of, data):
    file = data / "ratings.train.jsonl"
    file.write_text(file.read_text().partition("\n")[2])
    result = result_of(rows.look_at_data(config_of()))
    assert result.status == "failed" and f"{file} is not what was prepared" in result.text


def test_files_that_the_run_reads_must_be_there_and_others_need_not(config_of, data):
    (data / "pairs.validation.jsonl").unlink()
    assert result_of(rows.look_at_data(config_of())).status == "ok"  # regression reads ratings
    (data / "ratings.validation.jsonl").unlink()
    result = result_of(rows.look_at_data(config_of()))
    assert result.status == "failed" and "ratings.validation.jsonl is not there" in result.text


def test_rows_without_a_manifest_are_a_warning_and_a_broken_one_fails(config_of, data):
    (data / "manifest.json").write_text("{}")
    assert result_of(rows.look_at_data(config_of())).status == "failed"
    (data / "manifest.json").unlink()
    assert result_of(rows.look_at_data(config_of())).status == "warning"
    assert result_of(rows.look_at_preparation(config_of())).status == "warning"


def test_rows_prepared_for_another_model_are_a_warning(config_of, nemo, data):
    shorter = result_of(rows.look_at_preparation(config_of("model.encoder_seq_length=512")))
    assert shorter.status == "warning" and "prepared for 1024 tokens" in shorter.text
    other = result_of(rows.look_at_preparation(config_of("data.template=llama3")))
    assert "prepared for template extra_id" in other.text and "--max-length 1024" in other.hint
    edit_json(nemo / layout.TOKENIZER / "tokenizer.json", version="2.0")
    assert "not the checkpoint's" in result_of(rows.look_at_preparation(config_of())).text
    edit_json(data / "manifest.json", length_limit=None)
    assert "no length was asked for" in result_of(rows.look_at_preparation(config_of())).text


# --- disk ---


ALL_WEIGHTS = 4 * (256 * 512 + 256 * 256 + 3 * 256 * 512 + 2 * 256) + 1024 * 256 + 256  # of the random reward model
RANK_8_ADAPTERS = 8 * 4 * ((256 + 512) + (256 + 256) + (256 + 1024) + (512 + 256))
LORA = ("peft=lora", "model.peft.lora_tuning.adapter_dim=8", "model.peft.lora_tuning.target_modules=[all]")


@pytest.mark.parametrize(("overrides", "numbers"), [((), ALL_WEIGHTS), (LORA, RANK_8_ADAPTERS)])
def test_disk_has_room_for_two_resume_states_and_the_best_weights(config_of, monkeypatch, overrides, numbers):
    config = config_of("exp_manager.checkpoint_callback_params.save_top_k=3", *overrides)
    numbers += 9 * 256  # the run's own head
    needed = 1.1 * (2 * 16 * numbers + 3 * 4 * numbers)
    for free, status in ((needed - 4096, "failed"), (needed + 4096, "ok")):
        found = NumberedFiles(f_bavail=free / 4096, f_frsize=4096, f_files=0, f_favail=0)
        monkeypatch.setattr(disk.os, "statvfs", lambda _, found=found: found)
        assert result_of(disk.look_at_disk(config)).status == status


def test_disk_for_a_model_that_is_no_llama_is_left_to_the_user(config_of, nemo):
    edit_yaml(nemo, activation="squared-relu")
    result = result_of(disk.look_at_disk(config_of()))
    assert result.status == "warning" and "activation=squared-relu" in result.text


def test_disk_counts_files_and_what_the_run_has_already(config_of, monkeypatch, tmp_path):
    full = NumberedFiles(f_bavail=10**9, f_frsize=4096, f_files=10**6, f_favail=100)
    monkeypatch.setattr(disk.os, "statvfs", lambda _: full)
    result = result_of(disk.look_at_disk(config_of()))
    assert result.status == "failed" and "100 files can be made, 204 needed" in result.text

    last = tmp_path / "run" / "checkpoints" / "last"
    last.mkdir(parents=True)
    (last / "weights").write_bytes(bytes(2 * 10**8))
    monkeypatch.setattr(disk.os, "statvfs", lambda _: NumberedFiles(0, 4096, 0, 0))
    assert result_of(disk.look_at_disk(config_of())).status == "ok"


def test_run_folder_must_be_writable(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_folder.os, "access", lambda *_: False)  # root may write anywhere
    result = result_of(shared_folder.look_at_shared_folder(tmp_path, Node("here", 0, 1, "x"), wait_s=1))
    assert result.status == "failed" and "cannot be written to" in result.text


# --- accounts ---


def test_weights_and_biases_needs_a_key_where_it_is_asked_for(config_of, monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    asked = config_of("exp_manager.create_wandb_logger=true")
    assert result_of(accounts.look_at_accounts(config_of(), {})).status == "skipped"
    assert result_of(accounts.look_at_accounts(asked, {})).status == "failed"
    assert result_of(accounts.look_at_accounts(asked, {"WANDB_MODE": "offline"})).status == "ok"
    with_key = result_of(accounts.look_at_accounts(asked, {"WANDB_API_KEY": "the-key"}))
    assert with_key.status == "ok" and "the-key" not in with_key.text
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password the-key\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert result_of(accounts.look_at_accounts(asked, {})).status == "ok"


def test_tokenizer_of_the_hub_asks_for_a_token(config_of, nemo, tmp_path):
    edit_yaml(nemo, target="nemo.collections.nlp.models.GPTModel", tokenizer={"library": "huggingface", "type": "a/b"})
    shutil.rmtree(nemo / layout.TOKENIZER)
    cache = {"HF_HOME": str(tmp_path / "cache")}
    assert result_of(accounts.look_at_accounts(config_of(), cache)).status == "warning"
    assert result_of(accounts.look_at_accounts(config_of(), {"HF_TOKEN": "x", **cache})).status == "ok"
    (tmp_path / "cache" / "hub" / "models--a--b").mkdir(parents=True)
    assert result_of(accounts.look_at_accounts(config_of(), cache)).status == "ok"


# --- command ---


@pytest.fixture
def words(nemo: Path, data: Path, tmp_path: Path) -> list[str]:
    """A reward model as it is trained on a laptop."""
    return [
        "preflight",
        "experiment=rm_stage1_helpfulness",
        "model=llama_tiny",
        f"data.dir={data}",
        f"pretrained_checkpoint.restore_from_path={nemo}",
        f"exp_manager.explicit_log_dir={tmp_path / 'run'}",
        f"model.encoder_seq_length={MAX_LENGTH}",
    ]


@pytest.mark.nemo
def test_run_that_can_start_passes_every_check(words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "nemo_hs2pref.cli", *words, "--json"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = {check["name"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    wanted = ("imports", "paths", "shared", "disk", "checkpoint", "template", "tokenizer", "data", "preparation")
    assert {name: said[name] for name in wanted} == dict.fromkeys(wanted, "ok")
    assert said["resume"] == said["accounts"] == "skipped" and "bandwidth" not in said
    assert not (tmp_path / "run").exists()


def test_run_that_cannot_start_fails_with_every_reason(words, nemo, data, monkeypatch, capsys):
    monkeypatch.setattr(versions, "look_at_imports", lambda: iter(()))  # half a minute
    (data / "ratings.train.jsonl").unlink()
    os.truncate(next((nemo / layout.WEIGHTS).glob("*.distcp")), 10)
    assert main([*words, "data.template=llama3"]) == 1
    printed = capsys.readouterr()
    assert printed.err.endswith("checks failed: checkpoint, tokenizer, data\n"), printed.err
    assert "hint: prepare the data again" in printed.out
