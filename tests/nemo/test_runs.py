"""Runs from the command line: what they say and leave behind, a kill and the resume, and what follows training."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, MetadataIndex
from torch_dist_files import read_tensors
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from nemo_hs2pref.checkpoint.file_list import list_again
from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION, write_manifest
from nemo_hs2pref.checkpoint.opening import read_manifest
from nemo_hs2pref.checkpoint.torch_dist.index import read_metadata
from nemo_hs2pref.checkpoint.verification.verify import verify
from nemo_hs2pref.data.records import read_pairs

STEPS = 6


@dataclass(frozen=True)
class Run:
    folder: Path
    output: str

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last"

    def metrics(self, kind: str) -> list[dict]:
        return [
            row
            for row in map(json.loads, (self.folder / "metrics.jsonl").read_text().splitlines())
            if row["kind"] == kind
        ]


def command(run: Path, base: Path, data: Path, *overrides: str) -> list[str]:
    return [
        *("-m", "nemo_hs2pref.cli", "train", "rm", "experiment=rm_stage2_scaled_bt", "model=llama_tiny"),
        *(f"data.dir={data}", f"pretrained_checkpoint.restore_from_path={base}", f"exp_manager.explicit_log_dir={run}"),
        *(
            "model.encoder_seq_length=1000",
            "model.global_batch_size=4",
            "model.micro_batch_size=2",
            "model.optim.lr=1e-3",
        ),
        *("head.load_rm_head_weights=false", f"trainer.rm.max_steps={STEPS}", "trainer.rm.limit_val_batches=1"),
        *("trainer.rm.val_check_interval=2", "trainer.rm.save_interval=3", *overrides),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def base(folder: Path, llama_tiny: Path) -> Path:
    """llama_tiny with a stored mean and std of rewards, which no run may inherit."""
    path = shutil.copytree(llama_tiny, folder / "base")
    figures = {"rows": 2, "input": {"name": "rows.jsonl"}, "reward": {"mean": 1.0, "std": 2.0}, "attributes": {}}
    write_manifest(path, read_manifest(path) | {STANDARDIZATION: figures})
    return path


@pytest.fixture(scope="module")
def straight(folder: Path, base: Path, sample: Path, launch: Callable[..., str]) -> Run:
    """Six steps without a stop."""
    return Run(folder / "straight", launch(*command(folder / "straight", base, sample)))


@pytest.fixture(scope="module")
def killed(
    folder: Path,
    llama_tiny: Path,
    sample: Path,
    launch: Callable[..., str],
    kill_when: Callable[[Path, str, list[str]], None],
) -> Run:
    """The same, killed after step 4 (saved at step 3), then started again."""
    run = folder / "killed"
    words = command(run, llama_tiny, sample)
    kill_when(run / "metrics.jsonl", '"step": 4', words)
    assert (run / "checkpoints" / "last").is_dir()
    return Run(run, launch(*words))


def test_a_killed_run_goes_on_as_if_nothing_had_happened(straight: Run, killed: Run) -> None:
    assert "resuming" in killed.output and "after step 3" in killed.output
    steps = [row["step"] for row in killed.metrics("train")]
    assert steps == list(range(1, STEPS + 1))
    for key in ("loss", "accuracy", "grad_norm", "lr", "reward_mean"):
        assert [row[key] for row in killed.metrics("train")] == [row[key] for row in straight.metrics("train")]
    assert killed.metrics("val") == straight.metrics("val")


def test_the_weights_are_the_same_too(straight: Run, killed: Run) -> None:
    first, second = (read_tensors(run.last / "model_weights") for run in (straight, killed))
    assert all(torch.equal(first[name], second[name]) for name in first)


class Attack:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.trace),)


def test_a_prepared_run_folder_runs_no_code_on_resume(
    straight: Run, base: Path, sample: Path, tmp_path: Path, launch: Callable[..., str]
) -> None:
    """torch unpickles what the index calls bytes, whatever was saved under that name."""
    run, trace = Path(shutil.copytree(straight.folder, tmp_path / "run")), tmp_path / "attacked"
    (run / "finished.json").unlink()
    state = run / "checkpoints" / "last" / "training_state"
    index: Any = read_metadata(state)
    index.all_local_plans = None  # stand-ins, which are of our package
    name = "optimizer.state.exp_avg.model.decoder.final_layernorm.weight"
    tensor, entry = index.state_dict_metadata[name], BytesStorageMetadata()
    vars(entry).update(vars(tensor))  # with the size that megatron-core looks at
    index.state_dict_metadata[name] = entry
    (stored,) = [place for place in index.storage_data if place.fqn == name]
    place = index.storage_data.pop(stored)
    record = io.BytesIO()
    torch.save(Attack(trace), record)
    with (state / place.relative_path).open("ab") as stream:
        place.offset, place.length = stream.tell(), len(record.getvalue())
        stream.write(record.getvalue())
    index.storage_data[MetadataIndex(name)] = place
    (state / ".metadata").write_bytes(pickle.dumps(index))
    for changed in (state / ".metadata", state / place.relative_path):  # whoever prepares a folder lists what is in it
        list_again(state.parent, changed)
    output = launch(*command(run, base, sample), check=False)
    assert f"{name} is stored as bytes, expected a tensor; do not trust it" in output
    assert "Traceback" not in output and not trace.exists()


def test_the_loss_is_named_with_its_formula_and_stored(straight: Run) -> None:
    """Fault 1 of Aligner: nothing tells which loss is trained."""
    assert "loss scaled_bt = mean of -m * log(sigmoid(r_c - r_r))" in straight.output
    stored = yaml.safe_load((straight.last / "model_config.yaml").read_text())
    assert stored["loss_func"] == stored["regression"]["loss_func"] == "scaled_bt"


def test_each_step_logs_what_people_follow(straight: Run) -> None:
    row = straight.metrics("train")[0]
    wanted = {"loss", "accuracy", "margin", "reward_mean", "reward_std", "grad_norm", "lr", "tokens_per_s", "step_s"}
    assert {*wanted, "reward_length_correlation"} <= row.keys()
    held_out = straight.metrics("val")[0]
    assert {"val_pairs_loss", "val_pairs_accuracy", "val_ratings_mse_helpfulness"} <= held_out.keys()
    assert {row["step"] for row in straight.metrics("val")} == {2, 4, 6}


def test_a_run_folder_holds_what_the_docs_say(straight: Run) -> None:
    assert yaml.safe_load((straight.folder / "config.yaml").read_text())["loss"]["name"] == "scaled_bt"
    assert list((straight.folder / "tensorboard").glob("events*"))
    assert (straight.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    names = sorted(path.name for path in (straight.folder / "checkpoints").iterdir())
    best = min(straight.metrics("val"), key=lambda row: row["val_pairs_loss"])
    assert names == ["last", f"step_{best['step']:06d}"]
    manifest = json.loads((straight.last / "hs2pref.json").read_text())
    assert (manifest["step"], manifest["items"]) == (STEPS, 4 * STEPS)
    assert manifest["run"]["model"]["optim"]["lr"] == 1e-3


def test_early_stop_ends_a_run_and_starting_it_again_changes_nothing(
    folder: Path, llama_tiny: Path, sample: Path, launch: Callable[..., str]
) -> None:
    """No gain reaches min_delta, so the second validation is one too many. Logged to Weights & Biases, offline."""
    stop = "exp_manager.early_stopping_callback_params"
    words = command(folder / "stopped", llama_tiny, sample, "trainer.rm.val_check_interval=1", "loss=combined",
                    "exp_manager.create_early_stopping_callback=true", f"{stop}.monitor=val_ratings_mse_helpfulness",
                    f"{stop}.patience=1", f"{stop}.min_delta=1e6", "exp_manager.create_wandb_logger=true")  # fmt: skip
    run = Run(folder / "stopped", launch(*words))
    ended = "early stop after step 2 of 6: val_ratings_mse_helpfulness did not improve by more than 1e+06 in 1"
    assert ended in run.output
    assert [row["step"] for row in run.metrics("train")] == [1, 2]
    row = run.metrics("train")[0]
    assert row["loss"] == pytest.approx(row["loss_regression"] + row["loss_scaled_bt"])
    assert list((run.folder / "wandb").glob("offline-run-*/*.wandb"))
    again = launch(*words)
    assert "is finished, after step 2" in again
    assert [row["step"] for row in run.metrics("train")] == [1, 2]


def test_mean_and_std_of_the_base_are_not_inherited(straight: Run, base: Path) -> None:
    """Training gives other rewards."""
    assert STANDARDIZATION in read_manifest(base)
    found = [read_manifest(path).keys() - {"git_commit"} for path in (straight.folder / "checkpoints").iterdir()]
    assert (
        found == [{"tool_version", "step", "items", "metrics", "run", "data", "read"}] * 2
    )  # a commit only of a checkout


@pytest.fixture(scope="module")
def expo(folder: Path, straight: Run, launch: Callable[..., str]) -> Path:
    """Extrapolated from the weights of the best step to those of the last one."""
    (weak,) = (path for path in (straight.folder / "checkpoints").glob("step_*"))
    launch("-m", "nemo_hs2pref.cli", "extrapolate", "--weak", weak, "--strong", straight.last, "--alpha", 1.52,
           "--out", folder / "expo")  # fmt: skip
    return folder / "expo"


def test_extrapolation_is_weak_plus_alpha_times_the_difference(straight: Run, expo: Path) -> None:
    (weak,) = (path for path in (straight.folder / "checkpoints").glob("step_*"))
    a, b, c = (read_tensors(path / "model_weights") for path in (weak, straight.last, expo))
    assert "model.rm_head.weight" in c
    for name in c:
        torch.testing.assert_close(c[name].double(), a[name].double() + 1.52 * (b[name].double() - a[name].double()))


@dataclass(frozen=True)
class Evaluated:
    """Eight pairs, and what `evaluate preferences` of the extrapolated checkpoint says of them."""

    pairs: Path
    summary: dict[str, Any]
    scores: list[dict[str, Any]]  # one a side


@pytest.fixture(scope="module")
def evaluated(expo: Path, sample: Path, folder: Path, launch: Callable[..., str]) -> Evaluated:
    pairs, out = folder / "few.jsonl", folder / "eval"
    pairs.write_text("".join((sample / "pairs.validation.jsonl").read_text().splitlines(keepends=True)[:8]))
    launch("-m", "nemo_hs2pref.cli", "evaluate", "preferences", "--model", expo, "--input", pairs, "--out", out)
    scores = map(json.loads, (out / "scores.jsonl").read_text().splitlines())
    return Evaluated(pairs, json.loads((out / "summary.json").read_text()), list(scores))


def test_an_extrapolated_checkpoint_scores_and_evaluates(evaluated: Evaluated) -> None:
    summary, scores = evaluated.summary, evaluated.scores
    assert summary["pairs"] == 8
    assert 0 <= summary["accuracy"] <= 1 and 0 <= summary["length_only_accuracy"] <= 1
    assert len(scores) == 16 and scores[0]["reward"] == pytest.approx(scores[0]["attributes"]["helpfulness"])


def test_an_exported_checkpoint_gives_the_scores_of_the_command(
    expo: Path, evaluated: Evaluated, tmp_path: Path
) -> None:
    """Trained, extrapolated, scored by `evaluate`; then transformers, from messages on."""
    convert_to_hf(expo, tmp_path / "exported")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    sides = [side for pair in read_pairs(evaluated.pairs) for side in pair.conversations()]
    batch = tokenizer.apply_chat_template(
        [[message.to_json() for message in side.messages] for side in sides],
        **{"padding": True, "return_dict": True, "return_tensors": "pt"},
    )
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "exported").eval()
    with torch.no_grad():
        logits = model(**batch).logits
    rewards = {row["id"]: [row["reward"]] for row in evaluated.scores}
    expected = torch.tensor([rewards[side.id] for side in sides])
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_two_processes_are_started_from_one_command(
    straight: Run, base: Path, sample: Path, tmp_path: Path, launch: Callable[..., str]
) -> None:
    """A layout is an override: the finished run of one process goes on for two steps on two."""
    folder = shutil.copytree(straight.folder, tmp_path / "run")
    longer = Run(folder, launch(*command(folder, base, sample, "parallel=tp2", f"trainer.rm.max_steps={STEPS + 2}")))
    assert f"after step {STEPS}" in longer.output
    assert [row["step"] for row in longer.metrics("train")] == list(range(1, STEPS + 3))
    # what two ranks wrote can be converted there and back
    convert_to_hf(longer.last, tmp_path / "exported", labels="all")
    convert_from_hf(tmp_path / "exported", tmp_path / "back")
    before, after = (read_tensors(path / "model_weights") for path in (longer.last, tmp_path / "back"))
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("layout", ["--tensor-parallel", "--pipeline-parallel"])
def test_two_processes_score_what_one_does(
    layout: str, expo: Path, evaluated: Evaluated, tmp_path: Path, launch: Callable[..., str]
) -> None:
    out, files = tmp_path / "scores.jsonl", ("--model", expo, "--input", evaluated.pairs)
    launch("-m", "nemo_hs2pref.cli", "score", *files, "--output", out, layout, 2)
    rewards = {row["id"]: row["reward"] for row in map(json.loads, out.read_text().splitlines())}
    assert rewards == pytest.approx({row["id"]: row["reward"] for row in evaluated.scores}, abs=1e-4)


def test_the_checkpoints_of_a_run_are_whole(straight: Run) -> None:
    """Weights and training state, with the hashes that the rank listed."""
    for path in (straight.folder / "checkpoints").iterdir():
        report = verify(path)
        assert not report.problems and not report.notes, report
