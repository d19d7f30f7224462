"""Checkpoints as NeMo 1.x, NeMo-Aligner and NeMo 2.0 lay them out: what is understood of them, what is refused."""

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from nemo2_files import write_context
from omegaconf import OmegaConf
from small_llama import HIDDEN, LAYERS, VOCAB, save_llama
from torch import Tensor
from torch_dist_files import read_tensors, write_tensors
from transformers import LlamaConfig

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.checkpoint.importers.view import remove_views, view
from nemo_hs2pref.checkpoint.inspection import inspect_checkpoint
from nemo_hs2pref.checkpoint.safetensors.folder import WHOLE
from nemo_hs2pref.checkpoint.standardization import store
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.checkpoint.verification.verify import verify
from nemo_hs2pref.data.records import ATTRIBUTES
from nemo_hs2pref.errors import CheckpointError

TARGET = "nemo_aligner.models.nlp.gpt.megatron_gpt_regression_reward_model.MegatronGPTRegressionRewardModel"


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language_model")
    convert_from_hf(save_llama(folder / "hf"), folder / "nemo")
    return folder / "nemo"


@pytest.fixture(scope="module")
def tensors(language_model: Path) -> dict[str, Tensor]:
    return read_tensors(language_model / layout.WEIGHTS)


@pytest.fixture
def aligner(tmp_path: Path, language_model: Path, tensors: dict[str, Tensor]) -> Path:
    """What Aligner unpacks to: its keys, the tokenizer by name, weights with a head of nine outputs and a bias."""
    return write_aligner(tmp_path / "aligner", language_model, tensors, outputs=9)


def write_aligner(folder: Path, base: Path, tensors: dict[str, Tensor], outputs: int, **changes: Any) -> Path:
    folder.mkdir()
    config = opening.read_config(base)
    config |= {"target": TARGET, "nemo_version": "2.2.1", "precision": "bf16-mixed", "fp8": True, "kv_channels": 24}
    config |= {"reward_model_type": "regression", "regression": {"num_attributes": outputs}}
    config |= {"tokenizer": {"library": "huggingface", "type": str(base / "tokenizer")}, **changes}
    del config["override_vocab_size"], config["vocab_size"], config["hugging_face"]
    OmegaConf.save(OmegaConf.create(config), folder / layout.CONFIG)
    torch.manual_seed(1)
    head = {"model.rm_head.weight": torch.randn(outputs, HIDDEN), "model.rm_head.bias": torch.randn(outputs)}
    write_tensors(tensors | head, folder / layout.WEIGHTS, LAYERS)
    return folder


def edit(folder: Path, **changes: Any) -> Path:
    file = folder / layout.CONFIG
    OmegaConf.save(OmegaConf.create(layout.read_yaml(file) | changes), file)
    return folder


def packed(folder: Path, archive: Path, mode: str = "w:") -> Path:
    """As NeMo packs it."""
    with tarfile.open(archive, mode) as tar:  # pyright: ignore[reportCallIssue, reportArgumentType]
        tar.add(folder, arcname=".")
    return archive


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        opening.read_config(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


# NeMo 1.x and Aligner


def test_what_our_own_runs_write_is_read_as_it_is(language_model: Path, tmp_path: Path) -> None:
    """NeMo writes `target` for our class too."""
    shutil.copytree(language_model, tmp_path / "run")
    edit(tmp_path / "run", target="nemo_hs2pref.models.reward.megatron_reward_model.MegatronRewardModel")
    assert opening.opened(tmp_path / "run") == tmp_path / "run"


def test_the_head_of_aligner_is_read_off_its_tensors(aligner: Path) -> None:
    config = opening.read_config(aligner)
    weights = [float(name == "helpfulness") for name in ATTRIBUTES]
    head = {"attributes": list(ATTRIBUTES), "reward_weights": weights, "bias": True, "template": "extra_id"}
    assert config["head"] == head
    assert (config["override_vocab_size"], config["precision"]) == (1024, 32)
    assert not {"target", "fp8", "regression"} & config.keys()


def test_aligners_reward_models_were_trained_without_rope_scaling_its_language_models_with(
    aligner: Path, language_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(language_model, tmp_path / "base")
    assert opening.read_config(aligner)["scale_positional_embedding"] is False
    assert opening.read_config(edit(tmp_path / "base", target="MegatronGPTModel"))["scale_positional_embedding"] is True


def test_an_archive_is_read_in_place(aligner: Path, tmp_path: Path) -> None:
    archive = packed(aligner, tmp_path / "rm.nemo")
    assert opening.read_config(archive) == opening.read_config(aligner)
    inside, outside = (StoredTensors(opening.opened(path) / layout.WEIGHTS) for path in (archive, aligner))
    assert inside.entries == outside.entries and "model.rm_head.bias" in inside.entries
    assert all(inside.read(name).equal(outside.read(name)) for name in inside.entries)
    copied = [file for file in opening.opened(archive).parent.rglob("*.distcp") if not file.is_symlink()]
    assert copied == []


def test_an_archive_of_ours_is_read_too(language_model: Path, tmp_path: Path) -> None:
    archive = packed(language_model, tmp_path / "own.nemo")
    assert opening.read_config(archive) == opening.read_config(language_model)
    assert opening.read_manifest(archive) == opening.read_manifest(language_model)
    assert (opening.opened(archive) / layout.TOKENIZER / "tokenizer.json").is_file()


def test_an_archive_is_verified_inspected_and_exported_where_it_lies(language_model: Path, tmp_path: Path) -> None:
    archive = packed(language_model, tmp_path / "own.nemo")
    found = verify(archive)
    assert not found.problems and found.tensors == len(StoredTensors(language_model / layout.WEIGHTS).entries)
    assert inspect_checkpoint(archive)["parameters"] == inspect_checkpoint(language_model)["parameters"]
    convert_to_hf(archive, tmp_path / "from_archive")
    convert_to_hf(language_model, tmp_path / "from_folder")
    assert (tmp_path / "from_archive" / WHOLE).read_bytes() == (tmp_path / "from_folder" / WHOLE).read_bytes()

    with tarfile.open(archive) as tar:
        largest = max(tar, key=lambda member: member.size)
    data = bytearray(archive.read_bytes())
    data[largest.offset_data + largest.size // 2] ^= 1
    archive.write_bytes(data)
    (problem,) = verify(archive.rename(tmp_path / "flipped.nemo")).problems
    assert "CRC-32 of" in problem


def test_aligners_folder_is_verified_inspected_and_exported(aligner: Path, tmp_path: Path) -> None:
    assert not verify(aligner).problems
    assert inspect_checkpoint(aligner)["head"]["attributes"] == list(ATTRIBUTES)
    convert_to_hf(aligner, tmp_path / "hf", drop_bias=True, labels="all")
    bias = StoredTensors(opening.opened(aligner) / layout.WEIGHTS).read("model.rm_head.bias")
    assert LlamaConfig.from_pretrained(tmp_path / "hf").hs2pref["dropped_bias"] == pytest.approx(bias.tolist())


def test_what_others_pickled_beside_the_weights_is_not_handed_on(aligner: Path) -> None:
    (aligner / layout.WEIGHTS / "common.pt").write_bytes(b"a pickle that nobody should load")
    assert torch.load(opening.opened(aligner) / layout.WEIGHTS / "common.pt", weights_only=True) == {}


def test_views_go_when_they_are_told_to(aligner: Path) -> None:
    folder = opening.opened(aligner)
    remove_views()
    view.cache_clear()
    assert not folder.exists() and (aligner / layout.WEIGHTS / "metadata.json").is_file()


def test_outputs_without_a_known_meaning_need_weights(
    language_model: Path, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    unknown = write_aligner(tmp_path / "unknown", language_model, tensors, outputs=3)
    assert "nothing says how its 3 outputs make a reward; add head.reward_weights" in refusal(unknown)
    regression = {"num_attributes": 3, "attribute_weights": [0.5, 0, 2]}
    named = write_aligner(tmp_path / "named", language_model, tensors, outputs=3, regression=regression)
    assert opening.read_config(named)["head"]["reward_weights"] == [0.5, 0.0, 2.0]
    head = {"attributes": ["a", "b", "c"], "reward_weights": [1, 0, 0]}
    given = write_aligner(tmp_path / "given", language_model, tensors, outputs=3, head=head)
    assert opening.read_config(given)["head"] == {**head, "bias": True, "template": "extra_id"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"use_avg_pool": True}, "its head reads more than the last token"),
        ({"head": {"attribute": ["x"]}}, "unknown key head.attribute; expected attributes"),
        ({"head": {"attributes": ["x"], "reward_weights": [1]}}, "1 attributes and 1 reward weights for a head of 9"),
        ({"tokenizer": {"library": "sentencepiece", "model": "nemo:ab_tokenizer.model"}},
         "it is sentencepiece's nemo:ab_tokenizer.model; save the Hugging Face tokenizer of the same model as"),
        ({"tokenizer": {"library": "huggingface", "type": "/their/machine/tokenizer"}}, "is no folder here"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(aligner: Path, changes: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(edit(aligner, **changes))


def test_a_tokenizer_beside_the_weights_is_taken_first(aligner: Path, language_model: Path) -> None:
    edit(aligner, tokenizer={"library": "sentencepiece", "model": "nemo:ab_tokenizer.model"})
    shutil.copytree(language_model / layout.TOKENIZER, aligner / layout.TOKENIZER)
    assert opening.read_config(aligner)["tokenizer"]["library"] == "huggingface"
    assert (opening.opened(aligner) / layout.TOKENIZER / "tokenizer.json").is_file()


def test_other_formats_of_weights_are_named(aligner: Path) -> None:
    file = aligner / layout.WEIGHTS / "metadata.json"
    file.write_text(json.dumps({"sharded_backend": "zarr"}))
    assert "weights are stored as zarr; load and save them once in NeMo" in refusal(aligner)
    file.unlink()
    assert "metadata.json: not found" in refusal(aligner)


@pytest.mark.parametrize("whose", ["own", "aligner", "archive", "nemo2"])
def test_what_a_file_names_is_not_looked_up(
    whose: str, aligner: Path, nemo2: Path, language_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base model must not carry this machine's variables into checkpoints, which are given away."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    if whose == "nemo2":
        folder, key = nemo2, "rotary_base"
        file = folder / "context" / "model.yaml"
        content = yaml.safe_load(file.read_text())
        content["config"][key] = "${oc.env:HF_TOKEN}"
        file.write_text(yaml.safe_dump(content))
    else:
        folder, key = Path(shutil.copytree(language_model if whose == "own" else aligner, tmp_path / "given")), "note"
        with (folder / layout.CONFIG).open("a") as config:
            config.write("note: [{deep: '${oc.env:HF_TOKEN}'}]\n")
    path = packed(folder, tmp_path / "given.nemo") if whose == "archive" else folder
    said = refusal(path)
    assert f"{key}" in said and "is '${oc.env:HF_TOKEN}'; what a file names is never looked up" in said
    assert "hf_secret" not in said


def test_a_tag_is_refused(aligner: Path) -> None:
    with (aligner / layout.CONFIG).open("a") as config:
        config.write("note: !!python/object/apply:os.getcwd []\n")
    assert "not plain YAML (the tag tag:yaml.org,2002:python/object/apply:os.getcwd" in refusal(aligner)


def test_a_missing_weight_file_is_named(aligner: Path) -> None:
    *_, file = sorted((aligner / layout.WEIGHTS).glob("*.distcp"))
    file.unlink()
    with pytest.raises(CheckpointError, match=f"file {file.name} is not there"):
        opening.read_config(aligner)


# Archives that do not mean well


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "model_weights/../../outside"])
def test_a_member_that_points_outside_is_refused(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.nemo", "w:") as tar:
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    assert f"member {name!r} is not a plain file inside the archive's folder" in refusal(tmp_path / "evil.nemo")
    assert not (tmp_path.parent / "outside").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_or_device_in_an_archive_is_refused(kind: bytes, aligner: Path, tmp_path: Path) -> None:
    with tarfile.open(packed(aligner, tmp_path / "evil.nemo"), "a:") as tar:
        member = tarfile.TarInfo("tokenizer")
        member.type, member.linkname = kind, "model_config.yaml"
        tar.addfile(member)
    assert "member 'tokenizer' is not a plain file" in refusal(tmp_path / "evil.nemo")


def test_a_compressed_archive_is_to_be_unpacked_first(aligner: Path, tmp_path: Path) -> None:
    assert "unpack a compressed one into a new folder: tar -C FOLDER -xf" in refusal(
        packed(aligner, tmp_path / "rm.nemo", "w:gz")
    )


def test_figures_are_not_stored_in_an_archive(aligner: Path, tmp_path: Path) -> None:
    archive = packed(aligner, tmp_path / "rm.nemo")
    with pytest.raises(CheckpointError, match="an archive cannot be written to; unpack it"):
        store(archive, {"rows": 0}, aligner / layout.CONFIG)


# NeMo 2.0


@pytest.fixture
def nemo2(tmp_path: Path, language_model: Path, tensors: dict[str, Tensor]) -> Path:
    """With an optimizer's state among the weights, as NeMo 2 saves it during a run."""
    folder = tmp_path / "nemo2"
    write_context(folder, opening.read_config(language_model), language_model / layout.TOKENIZER)
    stored = {name.replace("model.", "module.", 1): tensor for name, tensor in tensors.items()}
    write_tensors(stored | {"optimizer.state.exp_avg.x": torch.zeros(3)}, folder / "weights", LAYERS)
    return folder


def test_a_checkpoint_of_nemo_2_reads_as_the_same_model_of_nemo_1(
    nemo2: Path, language_model: Path, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    for path in (nemo2, packed(nemo2, tmp_path / "nemo2.nemo")):
        expected, config = opening.read_config(language_model), opening.read_config(path)
        of_hf_alone = {"hugging_face", "attention_dropout", "hidden_dropout", "ffn_dropout"}
        assert {key: config.get(key) for key in expected.keys() - of_hf_alone} == {
            **{key: value for key, value in expected.items() if key not in of_hf_alone},
            "vocab_size": 1024,  # NeMo 2 stores none; VOCAB rows are in use
        }
        stored = StoredTensors(opening.opened(path) / layout.WEIGHTS)
        assert stored.entries.keys() == tensors.keys() and VOCAB < 1024
        assert all(stored.read(name).equal(tensors[name]) for name in tensors)
        assert (opening.opened(path) / layout.TOKENIZER / "tokenizer.json").is_file()


def test_a_model_of_nemo_2_that_is_no_llama_is_refused(nemo2: Path) -> None:
    file = nemo2 / "context" / "model.yaml"
    model = yaml.safe_load(file.read_text())
    model["config"]["qk_layernorm"] = True
    file.write_text(yaml.safe_dump(model))
    with pytest.raises(CheckpointError, match="qk_layernorm is True; only Llamas are read: False"):
        opening.read_config(nemo2)


def test_biases_of_nemo_2_are_read(nemo2: Path) -> None:
    """Of a Qwen2.5."""
    file = nemo2 / "context" / "model.yaml"
    model = yaml.safe_load(file.read_text())
    model["config"]["add_qkv_bias"] = True
    file.write_text(yaml.safe_dump(model))
    assert opening.read_config(nemo2)["qkv_bias"] is True


def test_what_nemo_2_would_have_to_run_is_not_read(nemo2: Path) -> None:
    file = nemo2 / "context" / "model.yaml"
    file.write_text("config: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(
        CheckpointError,
        match=r"model\.yaml:1: not plain YAML \(the tag tag:yaml.org,2002:python/object/apply:os.system",
    ):
        opening.read_config(nemo2)
    file.unlink()
    with pytest.raises(CheckpointError, match="not found; save the checkpoint again with a NeMo 2 that writes it"):
        opening.read_config(nemo2)
