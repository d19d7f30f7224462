"""ExPO and averages, of checkpoints and Hugging Face folders: values, and refusals of what does not belong together.

Small folders, no model.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_tokenizers import llama3
from chat_tokenizers import saved as saved_tokenizer
from safetensors.torch import load_file, save_file
from torch_dist_files import read_tensors, write_tensors
from transformers import LlamaConfig

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.families.architecture import body_shapes
from nemo_hs2pref.checkpoint.hugging_face.head import head_shapes
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.merging import expo
from nemo_hs2pref.checkpoint.merging.expo import average_checkpoints, extrapolate_checkpoints
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.cli import main
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.functional import average, extrapolate

WEIGHT, HEAD = "model.decoder.layers.mlp.linear_fc2.weight", "model.rm_head.weight"
SECTION = {"attributes": ["helpfulness"], "reward_weights": [1.0], "bias": False, "template": "extra_id"}
CONFIG = {"num_layers": 2, "hidden_size": 4, "head": SECTION}


def checkpoint(folder: Path, tensors: dict[str, torch.Tensor], **config: object) -> Path:
    (folder / "tokenizer source").mkdir(parents=True)
    layout.write_small_files(folder, CONFIG | config, {}, folder / "tokenizer source")
    write_tensors(tensors, folder / layout.WEIGHTS, num_layers=2)
    return folder


@pytest.fixture
def weak(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "weak", {WEIGHT: torch.ones(2, 4, 3), HEAD: torch.zeros(1, 4)})


def test_each_tensor_is_extrapolated(weak: Path, tmp_path: Path) -> None:
    strong = checkpoint(tmp_path / "strong", {WEIGHT: torch.full((2, 4, 3), 3.0), HEAD: torch.full((1, 4), -2.0)})
    assert extrapolate_checkpoints(weak, strong, {1.5: tmp_path / "expo"}) == 2
    found = read_tensors(tmp_path / "expo" / layout.WEIGHTS, [WEIGHT, HEAD])
    torch.testing.assert_close(found[WEIGHT], torch.full((2, 4, 3), 1.0 + 1.5 * 2.0))
    torch.testing.assert_close(found[HEAD], torch.full((1, 4), 1.5 * -2.0))
    assert opening.read_manifest(tmp_path / "expo")["extrapolated"]["alpha"] == 1.5


def test_the_parents_mean_and_std_are_not_inherited(weak: Path, tmp_path: Path) -> None:
    """Other weights give other rewards."""
    layout.write_manifest(weak, {STANDARDIZATION: {"reward": {"mean": 1.0, "std": 2.0}}})
    config = weak / layout.CONFIG
    config.write_text(config.read_text() + "reward_standardization: {enable: true, mean: 1.0, std: 2.0}\n")
    strong = shutil.copytree(weak, tmp_path / "strong")
    write_tensors({WEIGHT: torch.ones(2, 4, 3), HEAD: torch.ones(1, 4)}, fresh(strong / layout.WEIGHTS), num_layers=2)
    extrapolate_checkpoints(weak, strong, {1.5: tmp_path / "expo"})
    assert opening.read_manifest(tmp_path / "expo").keys() == {"tool_version", "extrapolated"}
    assert "reward_standardization" not in (tmp_path / "expo" / layout.CONFIG).read_text()


def test_twice_the_same_model_is_refused_however_it_is_named(weak: Path, tmp_path: Path) -> None:
    """Every alpha would give that model again, and nobody would see that stage 1 was not given."""
    (tmp_path / "link").symlink_to(weak)
    copy = shutil.copytree(weak, tmp_path / "copy")
    for strong, told in ((weak, "are the same folder"), (tmp_path / "link", "are the same folder"),
                         (weak / ".." / "weak", "are the same folder"), (copy, "have the same weights")):  # fmt: skip
        with pytest.raises(CheckpointError, match=f"{told}; give as --weak the model from which"):
            extrapolate_checkpoints(weak, strong, {1.5: tmp_path / "expo", 2.0: tmp_path / "other"})
        assert {path.name for path in tmp_path.iterdir()} == {"weak", "link", "copy"}


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder)
    return folder


def test_a_tensor_of_another_shape_is_named(weak: Path, tmp_path: Path) -> None:
    strong = checkpoint(tmp_path / "strong", {WEIGHT: torch.ones(2, 4, 5), HEAD: torch.zeros(1, 4)})
    with pytest.raises(
        CheckpointError, match=r"linear_fc2.weight differs: torch.float32 \[2, 4, 3\] in .*weak, .*\[2, 4, 5\]"
    ):
        extrapolate_checkpoints(weak, strong, {1.5: tmp_path / "expo"})
    assert not (tmp_path / "expo").exists()


def test_a_missing_tensor_is_named(weak: Path, tmp_path: Path) -> None:
    strong = checkpoint(tmp_path / "strong", {WEIGHT: torch.ones(2, 4, 3)})
    with pytest.raises(CheckpointError, match=r"model.rm_head.weight differs: .* nothing in .*strong"):
        extrapolate_checkpoints(weak, strong, {1.5: tmp_path / "expo"})


def test_equal_shapes_with_another_meaning_are_refused(weak: Path, tmp_path: Path) -> None:
    tensors = {WEIGHT: torch.ones(2, 4, 3), HEAD: torch.zeros(1, 4)}
    strong = checkpoint(tmp_path / "strong", tensors, head=SECTION | {"attributes": ["quality"]})
    with pytest.raises(CheckpointError, match=r"head is .*helpfulness.* and .*quality"):
        extrapolate_checkpoints(weak, strong, {1.5: tmp_path / "expo"})


def test_the_command_ends_with_one_sentence(weak: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["extrapolate", "--weak", str(weak), "--strong", str(tmp_path / "no"), "--out", str(tmp_path / "c")]) == 2
    )
    assert f"{tmp_path / 'no'}: no checkpoint" in capsys.readouterr().err


def test_an_existing_folder_is_not_overwritten(weak: Path) -> None:
    with pytest.raises(CheckpointError, match="exists already"):
        extrapolate_checkpoints(weak, weak, {1.5: weak})


def test_an_incomplete_checkpoint_is_recognised(weak: Path) -> None:
    (weak / layout.WEIGHTS / "metadata.json").unlink()
    with pytest.raises(CheckpointError, match="incomplete"):
        opening.read_config(weak)


# Several alphas in one pass


def test_several_alphas_are_written_in_one_pass_over_the_inputs(
    weak: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strong = checkpoint(tmp_path / "strong", {WEIGHT: torch.full((2, 4, 3), 3.0), HEAD: torch.ones(1, 4)})
    reads: list[tuple[str, int | None]] = []
    read = StoredTensors.read

    def counted(self: StoredTensors, name: str, **where: Any) -> torch.Tensor:
        reads.append((name, where.get("layer")))
        return read(self, name, **where)

    monkeypatch.setattr(StoredTensors, "read", counted)
    argv = ["extrapolate", "--weak", str(weak), "--strong", str(strong), "--out", str(tmp_path / "expo")]
    assert main([*argv, "--alpha", "0", "1.3", "1.52"]) == 0
    assert len(reads) == 2 * 3, "both models: two layers and the head"
    for alpha in (0, 1.3, 1.52):
        written = tmp_path / "expo" / f"alpha-{alpha}"
        weight = read_tensors(written / layout.WEIGHTS, [WEIGHT])[WEIGHT]
        torch.testing.assert_close(weight, torch.full((2, 4, 3), 1 + alpha * 2.0))
        assert opening.read_manifest(written)["extrapolated"]["alpha"] == alpha


def test_a_failure_in_one_pass_leaves_none_of_the_outputs(
    weak: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: StoredTensors, name: str, **_: Any) -> torch.Tensor:
        raise CheckpointError(f"{name} cannot be read")

    monkeypatch.setattr(StoredTensors, "read", broken)
    with pytest.raises(CheckpointError, match="cannot be read"):
        strong = shutil.copytree(weak, tmp_path / "strong")
        extrapolate_checkpoints(weak, strong, {1.3: tmp_path / "expo" / "a", 1.5: tmp_path / "expo" / "b"})
    assert not list((tmp_path / "expo").iterdir())


def test_blocks_give_the_numbers_of_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expo, "BLOCK", 7)
    weak, strong = torch.randn(5, 4).bfloat16(), torch.randn(5, 4).bfloat16()
    assert torch.equal(expo.extrapolate_in_blocks(weak, strong, 1.52), extrapolate(weak, strong, 1.52))


# Averages


def test_an_average_has_weights_that_are_divided_by_their_sum(weak: Path, tmp_path: Path) -> None:
    other = checkpoint(tmp_path / "other", {WEIGHT: torch.full((2, 4, 3), 5.0), HEAD: torch.full((1, 4), 4.0)})
    argv = ["extrapolate", "--average", str(weak), str(other), str(other), "--out"]
    assert main([*argv, str(tmp_path / "even")]) == 0
    assert main([*argv, str(tmp_path / "weighted"), "--weights", "6", "1", "1"]) == 0
    for name, share in (("even", 2 / 3), ("weighted", 2 / 8)):  # of the other model
        found = read_tensors(tmp_path / name / layout.WEIGHTS, [WEIGHT, HEAD])
        torch.testing.assert_close(found[WEIGHT], torch.full((2, 4, 3), 1 + share * 4.0))
        torch.testing.assert_close(found[HEAD], torch.full((1, 4), share * 4.0))
    assert [entry["weight"] for entry in opening.read_manifest(tmp_path / "weighted")["averaged"]] == [6, 1, 1]


def test_an_average_is_summed_in_float32() -> None:
    """In bfloat16 1 + 1/256 is 1."""
    tensors = [torch.tensor([1.0]), *[torch.tensor([1 / 256])] * 4]
    mean = average((tensor.bfloat16() for tensor in tensors), [1.0] * 5)
    torch.testing.assert_close(mean, torch.tensor([(1 + 4 / 256) / 5]).bfloat16(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--average", "A"], "--average: 1 models"),
        (["--average", "A", "B", "--weights", "1"], "2 models and 1 weights"),
        (["--average", "A", "B", "--weights", "1", "-1"], "at least 0"),
        (["--average", "A", "B", "--alpha", "1.5"], "give --weak and --strong, or --average alone"),
        (["--weak", "A"], "give --weak and --strong, or --average alone"),
        (["--weak", "A", "--strong", "B", "--alpha", "nan"], "expected a finite number"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(
    options: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extrapolate", *options, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err


# Hugging Face folders


LLAMA = LlamaConfig(
    vocab_size=264, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=2, num_labels=1
)


def hugging_face(folder: Path, value: float, *, shards: bool = True, **config: object) -> Path:
    """A classifier whose numbers are all `value`, float32 and one bfloat16, in two files or in one."""
    saved_tokenizer(llama3(), folder)
    tensors = {
        name: torch.full(shape, value)
        for name, shape in (body_shapes(LLAMA, 1) | head_shapes(LLAMA, "sequence-classification")).items()
    }
    tensors["model.norm.weight"] = tensors["model.norm.weight"].bfloat16()
    settings = LLAMA.to_dict() | {"architectures": ["LlamaForSequenceClassification"]} | config
    (folder / "config.json").write_text(json.dumps(settings))
    if shards:
        files = {name: f"model-0000{1 + (name == 'score.weight')}-of-00002.safetensors" for name in tensors}
        for file in set(files.values()):
            save_file({name: tensors[name] for name in files if files[name] == file}, folder / file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    else:
        save_file(tensors, folder / "model.safetensors")
    return folder


def test_hugging_face_folders_in_and_out(tmp_path: Path) -> None:
    weak = hugging_face(tmp_path / "weak", 1.0, use_cache=False)
    strong = hugging_face(
        tmp_path / "strong",
        3.0,
        shards=False,
        hs2pref={STANDARDIZATION: {"mean": 0}, "exported": {"step": 2}, "template": "extra_id"},
    )
    settings = json.loads((weak / "config.json").read_text())
    (weak / "config.json").write_text(json.dumps(settings | {"hs2pref": {"template": "extra_id"}}))

    assert extrapolate_checkpoints(weak, strong, {1.5: tmp_path / "a", 1.0: tmp_path / "b"}) == 12
    assert average_checkpoints([weak, strong], None, tmp_path / "soup") == 12
    for name, value in (("a", 4.0), ("b", 3.0), ("soup", 2.0)):
        found = load_file(tmp_path / name / "model.safetensors")
        assert torch.equal(found["score.weight"], torch.full((1, 4), value))
        assert torch.equal(found["model.norm.weight"], torch.full((4,), value).bfloat16())
        assert (tmp_path / name / "tokenizer.json").is_file()
        assert not (tmp_path / name / "model.safetensors.index.json").exists()
    ours = json.loads((tmp_path / "a" / "config.json").read_text())["hs2pref"]
    assert ours["extrapolated"]["alpha"] == 1.5
    assert ours["template"] == "extra_id"
    assert not {STANDARDIZATION, "exported"} & ours.keys(), "they are of other weights"


def test_another_architecture_of_a_hugging_face_folder_is_named(tmp_path: Path) -> None:
    weak, strong = hugging_face(tmp_path / "weak", 1.0), hugging_face(tmp_path / "strong", 1.0, rope_theta=5e5)
    with pytest.raises(CheckpointError, match=r"rope_theta is 10000.0 in .*weak and 500000.0 in"):
        extrapolate_checkpoints(weak, strong, {1.5: tmp_path / "expo"})


def test_a_checkpoint_and_a_hugging_face_folder_do_not_mix(weak: Path, tmp_path: Path) -> None:
    strong = hugging_face(tmp_path / "strong", 1.0)
    with pytest.raises(CheckpointError, match=r"weak is a NeMo checkpoint and .*strong a Hugging Face folder"):
        extrapolate_checkpoints(weak, strong, {1.5: tmp_path / "expo"})


def test_an_index_that_points_outside_of_its_folder_is_refused(tmp_path: Path) -> None:
    weak = hugging_face(tmp_path / "weak", 1.0)
    (weak / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"score.weight": "../secret"}}))
    with pytest.raises(CheckpointError, match=r"score.weight is in '../secret', outside of the folder"):
        extrapolate_checkpoints(weak, weak, {1.5: tmp_path / "expo"})


@pytest.mark.parametrize("change", ["chat template", "vocabulary", "a number that is none"])
def test_what_would_be_combined_in_silence_is_refused(change: str, tmp_path: Path) -> None:
    weak, strong = hugging_face(tmp_path / "weak", 1.0), hugging_face(tmp_path / "strong", 3.0, shards=False)
    if change == "chat template":
        file = strong / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": "{{ messages[0].content }}"}))
    elif change == "vocabulary":
        file = strong / "tokenizer.json"
        stored = json.loads(file.read_text())
        vocabulary = stored["model"]["vocab"]
        vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
        file.write_text(json.dumps(stored))
    else:
        tensors = load_file(strong / "model.safetensors")
        tensors["score.weight"][0, 0] = float("nan")
        save_file(tensors, strong / "model.safetensors")
    said = {"chat template": "its chat template is", "vocabulary": "its tokenizer is"}.get(change, "not finite")
    with pytest.raises(CheckpointError, match=said):
        extrapolate_checkpoints(weak, strong, {1.5: tmp_path / "out"})
    assert not (tmp_path / "out").exists()
