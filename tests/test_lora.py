"""LoRA without a model: its settings, the merge of small checkpoints, and what is refused with one sentence."""

import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch_dist_files import read_tensors, write_tensors

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.adapters import base_of
from nemo_hs2pref.checkpoint.merging.lora import merge_lora
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.cli import main
from nemo_hs2pref.errors import CheckpointError, ConfigError
from nemo_hs2pref.recipes.rm import RECIPE, load_reward_model_config

GIVEN = ("exp_manager.explicit_log_dir=run", "pretrained_checkpoint.restore_from_path=base", "data.dir=data")
LAYER = "model.decoder.layers.mlp."
FC1, FC2 = f"{LAYER}linear_fc1.weight", f"{LAYER}linear_fc2.weight"
A, B = (f"{LAYER}adapter_layer.lora_hto4h_adapter.linear_{side}.weight" for side in ("in", "out"))
HEAD, OUTPUT_LAYER = "model.rm_head.weight", "model.output_layer.weight"
SECTION = {"attributes": ["helpfulness"], "reward_weights": [1.0], "bias": False, "template": "extra_id"}
PEFT = {"peft_scheme": "lora", "lora_tuning": {"adapter_dim": 3, "alpha": 12.0}}


def checkpoint(folder: Path, tensors: dict[str, torch.Tensor], manifest: dict[str, object], **config: object) -> Path:
    (folder / "tokenizer source").mkdir(parents=True)
    layout.write_small_files(folder, {"num_layers": 2} | config, manifest, folder / "tokenizer source")
    write_tensors(tensors, folder / layout.WEIGHTS, num_layers=2)
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A language model: two layers, bfloat16, an output layer."""
    torch.manual_seed(0)
    shapes = {FC1: (2, 8, 4), FC2: (2, 4, 4), OUTPUT_LAYER: (7, 4)}
    tensors = {name: torch.randn(shape).bfloat16() for name, shape in shapes.items()}
    return checkpoint(tmp_path / "base", tensors, {})


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    tensors = {A: torch.randn(2, 3, 4), B: torch.randn(2, 8, 3), HEAD: torch.randn(1, 4)}
    return checkpoint(tmp_path / "adapter", tensors, {"base": base_of(base), "step": 5}, peft=PEFT, head=SECTION)


# --- merging ---


def test_merged_weight_is_base_plus_scaled_product(base: Path, adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    assert merge_lora(adapter, out) == 1
    before, learned = read_tensors(base / layout.WEIGHTS, [FC1, FC2]), read_tensors(adapter / layout.WEIGHTS, [A, B])
    found = read_tensors(out / layout.WEIGHTS, [FC1, FC2])
    product = torch.einsum("lor,lri->loi", learned[B].double(), learned[A].double())
    expected = before[FC1].double() + 12 / 3 * product
    assert found[FC1].dtype == torch.bfloat16
    torch.testing.assert_close(found[FC1].double(), expected, rtol=2**-8, atol=1e-6)  # one rounding to bfloat16
    assert torch.equal(found[FC2], before[FC2])


def test_merged_checkpoint_is_a_whole_reward_model(adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    merge_lora(adapter, out)
    assert opening.read_config(out) == {"num_layers": 2, "head": SECTION}
    assert StoredTensors(out / layout.WEIGHTS).entries.keys() == {FC1, FC2, HEAD}
    head = read_tensors(adapter / layout.WEIGHTS, [HEAD])[HEAD]
    assert torch.equal(read_tensors(out / layout.WEIGHTS, [HEAD])[HEAD], head)


def test_a_base_that_was_moved_is_named_on_the_command_line(
    base: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base.rename(tmp_path / "moved")
    words = ["convert", "merge-lora", str(adapter), str(tmp_path / "merged")]
    assert main(words) == 2
    assert f"{base}: the base of {adapter} is not there; give its place with --base" in capsys.readouterr().err
    assert main([*words, "--base", str(tmp_path / "moved")]) == 0


def test_another_base_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    other = read_tensors(base / layout.WEIGHTS, [FC1, FC2, OUTPUT_LAYER])
    other[FC2][1, 2, 3] += 1
    shutil.rmtree(base)
    checkpoint(base, other, {})
    with pytest.raises(CheckpointError, match=r"other weights than those that .*adapter was trained on"):
        merge_lora(adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_whole_checkpoint_is_not_merged(base: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="base: no adapters; expected a checkpoint of `hs2pref train rm peft=lora`"
    ):
        merge_lora(base, tmp_path / "merged")


def test_a_checkpoint_with_the_scheme_none_is_a_whole_model(base: Path) -> None:
    config = opening.read_config(base) | {"peft": {"peft_scheme": "none"}}
    OmegaConf.save(OmegaConf.create(config), base / layout.CONFIG)
    assert opening.read_config(base) == config


@pytest.mark.parametrize("reader", ["score", "train", "extrapolate"])
def test_adapters_are_not_taken_for_a_whole_model(
    reader: str, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(adapter)
    row = '{"id": "a", "messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]}'
    (tmp_path / "rows.jsonl").write_text(row + "\n")
    words = {
        "score": ["score", "--model", path, "--input", str(tmp_path / "rows.jsonl"), "--output", str(tmp_path / "out")],
        "train": ["train", "rm", *GIVEN, f"pretrained_checkpoint.restore_from_path={path}"],
        "extrapolate": ["extrapolate", "--weak", path, "--strong", path, "--out", str(tmp_path / "out")],
    }
    assert main(words[reader]) == 2
    message = capsys.readouterr().err
    assert f"{path}: LoRA adapters, not a whole model; merge them first: hs2pref convert merge-lora {path}" in message


# --- settings ---


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["adapter_dim=12"], "adapter_dim=12: must be a multiple of model.tensor_model_parallel_size=8"),
        (["adapter_dim=0"], "adapter_dim=0: must be a multiple of"),
        (["alpha=0"], "alpha=0.0: must be greater than 0"),
        (["adapter_dropout=1"], "adapter_dropout=1.0: must be a probability below 1"),
        (["target_modules=[q_proj]"], "target_modules=['q_proj']: expected a selection of attention_qkv, attention_"),
        (["target_modules=[]"], "target_modules=[]: expected a selection"),
    ],
)
def test_settings_of_adapters_that_cannot_work_are_refused(overrides: list[str], message: str) -> None:
    keys = [f"model.peft.lora_tuning.{override}" for override in overrides]
    with pytest.raises(ConfigError) as error:
        RECIPE.check(load_reward_model_config([*GIVEN, "peft=lora", *keys])[0], {})
    assert message in str(error.value)


@pytest.mark.parametrize("scheme", ["ia3", "lora"])
def test_the_scheme_is_chosen_by_its_group(scheme: str) -> None:
    config, _ = load_reward_model_config([*GIVEN, f"model.peft.peft_scheme={scheme}"])
    with pytest.raises(ConfigError, match=f"peft_scheme={scheme}: choose it with peft=none or peft=lora"):
        RECIPE.check(config, {})


def test_a_wrong_key_of_the_adapters_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown key model.peft.lora_tuning.rank"):
        load_reward_model_config([*GIVEN, "peft=lora", "+model.peft.lora_tuning.rank=8"])


def test_a_key_of_the_adapters_without_adapters_says_what_to_choose() -> None:
    with pytest.raises(ConfigError, match=r"unknown key model.peft.lora_tuning.alpha; it is a key of peft=lora"):
        load_reward_model_config([*GIVEN, "model.peft.lora_tuning.alpha=8"])


@pytest.mark.parametrize(
    ("stored", "asked", "message"),
    [
        (["peft=none"], ["peft=lora"], "model.peft.peft_scheme=none, asked for is lora"),
        (["peft=lora"], ["peft=none"], "model.peft.peft_scheme=lora, asked for is none"),
        (["peft=lora"], ["peft=lora", "model.peft.lora_tuning.alpha=8"], "lora_tuning.alpha=32, asked for is 8"),
    ],
)
def test_a_run_keeps_its_adapters(stored: list[str], asked: list[str], message: str) -> None:
    before = OmegaConf.to_container(load_reward_model_config([*GIVEN, *stored])[1])
    assert isinstance(before, dict)
    with pytest.raises(ConfigError, match=message):
        RECIPE.refuse_other_run("run", before, load_reward_model_config([*GIVEN, *asked])[1])
    RECIPE.refuse_other_run("run", before, load_reward_model_config([*GIVEN, *stored])[1])
