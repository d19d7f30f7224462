"""Reward heads between our checkpoints and Hugging Face's layouts, and what comes along. None of it builds a model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from families import ATTRIBUTES, FIGURES, edit_json, edit_yaml, save_reward_model, tensors_of
from safetensors.torch import load_file, save_file
from small_llama import save_llama
from torch_dist_files import read_tensors, write_tensors
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.checkpoint.layout import STANDARDIZATION
from nemo_hs2pref.checkpoint.standardization import store, stored
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.cli import main
from nemo_hs2pref.data.records import Conversation, Message
from nemo_hs2pref.errors import CheckpointError, DataError
from nemo_hs2pref.scoring import open_scorer

HEAD = "model.rm_head.weight"
TURNS = "{% for message in messages %}{{ message.role + ': ' + message.content + '\n' }}{% endfor %}"


@pytest.fixture
def biased(nemo: Path) -> Path:
    """The same with a bias in its head."""
    stored = StoredTensors(nemo / layout.WEIGHTS)
    tensors = {name: stored.read(name) for name in stored.entries}
    shutil.rmtree(nemo / layout.WEIGHTS)
    write_tensors(tensors | {"model.rm_head.bias": torch.tensor([0.5, -1.25, 2.0])}, nemo / layout.WEIGHTS, 4)
    edit_yaml(nemo, head={"bias": True})
    return nemo


# Heads


def test_labels_weights_and_figures_stand_in_config_json(reward_nemo: Path, tmp_path: Path) -> None:
    convert_to_hf(reward_nemo, tmp_path / "back")
    config = AutoConfig.from_pretrained(tmp_path / "back")
    assert config.architectures == ["LlamaForSequenceClassification"]
    assert (config.num_labels, config.id2label) == (3, dict(enumerate(ATTRIBUTES)))
    assert config.problem_type == "regression"
    ours = config.hs2pref
    assert (ours["reward_weights"], ours["template"]) == ([0.5, 0.75, -0.25], "extra_id")
    assert ours[STANDARDIZATION] == FIGURES


@pytest.mark.parametrize("hf_layout", ["sequence-classification", "nemotron-reward"])
def test_what_hugging_face_has_no_place_for_is_read_back(hf_layout: str, biased: Path, tmp_path: Path) -> None:
    convert_to_hf(biased, tmp_path / "hf", hf_layout=hf_layout, drop_bias=True)
    convert_from_hf(tmp_path / "hf", tmp_path / "again")
    before, after = opening.read_config(biased)["head"], opening.read_config(tmp_path / "again")["head"]
    first, second = (StoredTensors(path / layout.WEIGHTS) for path in (biased, tmp_path / "again"))
    figures = opening.read_manifest(tmp_path / "again")[STANDARDIZATION]
    if hf_layout == "sequence-classification":
        assert after == before
        assert second.read(HEAD).equal(first.read(HEAD))
        assert second.read("model.rm_head.bias").tolist() == [0.5, -1.25, 2.0]
        assert figures == FIGURES
    else:  # the reward alone
        assert after == {"attributes": ["reward"], "reward_weights": [1.0], "bias": True, "template": "extra_id"}
        weights = torch.tensor(before["reward_weights"])
        torch.testing.assert_close(second.read(HEAD)[0], weights @ first.read(HEAD))
        assert second.read("model.rm_head.bias").tolist() == [0.5 * 0.5 + 0.75 * -1.25 + -0.25 * 2.0]
        assert figures == FIGURES | {"attributes": {"reward": FIGURES["reward"]}}


def test_a_bias_that_would_be_lost_stops_with_its_values(biased: Path, tmp_path: Path) -> None:
    sentence = r"the head has a bias \(helpfulness 0.5, correctness -1.25, verbosity 2\), .*; --drop-bias leaves it out"
    with pytest.raises(CheckpointError, match=sentence):
        convert_to_hf(biased, tmp_path / "back")
    convert_to_hf(biased, tmp_path / "back", drop_bias=True)
    assert json.loads((tmp_path / "back" / "config.json").read_text())["hs2pref"]["dropped_bias"] == [0.5, -1.25, 2.0]
    card = (tmp_path / "back" / "README.md").read_text()
    assert "add -1.1875 to the reward, and to the attributes helpfulness 0.5, correctness -1.25, verbosity 2" in card


def test_a_bias_of_zeros_is_no_loss(biased: Path, tmp_path: Path) -> None:
    stored = StoredTensors(biased / layout.WEIGHTS)
    tensors = {name: stored.read(name) for name in stored.entries} | {"model.rm_head.bias": torch.zeros(3)}
    shutil.rmtree(biased / layout.WEIGHTS)
    write_tensors(tensors, biased / layout.WEIGHTS, 4)
    convert_to_hf(biased, tmp_path / "back")
    assert "dropped_bias" not in json.loads((tmp_path / "back" / "config.json").read_text())["hs2pref"]


def test_merged_attributes_are_one_label_with_the_reward(reward_nemo: Path, tmp_path: Path) -> None:
    convert_to_hf(reward_nemo, tmp_path / "back", labels="reward")
    head = StoredTensors(reward_nemo / layout.WEIGHTS).read(HEAD)
    score = tensors_of(tmp_path / "back")["score.weight"]
    torch.testing.assert_close(score, torch.tensor([[0.5, 0.75, -0.25]]) @ head)
    config = AutoConfig.from_pretrained(tmp_path / "back")
    assert (config.num_labels, config.id2label, config.hs2pref["reward_weights"]) == (1, {0: "reward"}, [1.0])


@pytest.mark.parametrize(("weight", "label"), [(1.0, "correctness"), (2.0, "reward"), (-1.0, "reward")])
def test_a_reward_that_is_one_attribute_is_the_only_label(
    weight: float, label: str, nemo: Path, tmp_path: Path
) -> None:
    """Clients that read one number of several take the first. The label is the reward: its weight is in the head."""
    edit_yaml(nemo, head={"reward_weights": [0.0, weight, 0.0]})
    convert_to_hf(nemo, tmp_path / "back")
    score = tensors_of(tmp_path / "back")["score.weight"]
    assert score.equal(weight * StoredTensors(nemo / layout.WEIGHTS).read(HEAD)[1:2])
    config = AutoConfig.from_pretrained(tmp_path / "back")
    assert (config.id2label, config.problem_type, config.hs2pref["reward_weights"]) == ({0: label}, "regression", [1.0])
    assert config.hs2pref[STANDARDIZATION]["attributes"] == {label: FIGURES["reward"]}
    convert_from_hf(tmp_path / "back", tmp_path / "again")
    assert opening.read_config(tmp_path / "again")["head"]["attributes"] == [label]
    assert read_tensors(tmp_path / "again" / layout.WEIGHTS, [HEAD])[HEAD].equal(score)


def test_all_attributes_come_with_a_warning_that_names_slot_0(
    nemo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_yaml(nemo, head={"reward_weights": [0.0, 1.0, 0.0]})
    words = ["convert", "to-hf", str(nemo)]
    assert main([*words, str(tmp_path / "one")]) == 0
    said = capsys.readouterr()
    assert "labels correctness; not written: helpfulness, verbosity" in said.out and not said.err
    assert main([*words, str(tmp_path / "all"), "--all-attributes"]) == 0
    sentence = "warning: the reward is correctness, and slot 0 is helpfulness: RewardBench's scorer reads slot 0 alone"
    assert sentence in capsys.readouterr().err
    config = AutoConfig.from_pretrained(tmp_path / "all")
    assert (config.num_labels, config.hs2pref["reward_weights"]) == (3, [0.0, 1.0, 0.0])
    assert main([*words, str(tmp_path / "no"), "--all-attributes", "--layout", "nemotron-reward"]) == 2
    assert "--layout nemotron-reward holds the reward alone; leave --all-attributes out" in capsys.readouterr().err


# What clients read


def test_openrlhf_finds_mean_and_std_of_the_only_label(biased: Path, tmp_path: Path) -> None:
    """It takes (reward - mean) / std of a reward without the dropped bias of 0.5 * 0.5 + 0.75 * -1.25 - 0.25 * 2."""
    convert_to_hf(biased, tmp_path / "all", drop_bias=True)
    assert not {"mean", "std"} & json.loads((tmp_path / "all" / "config.json").read_text()).keys()
    convert_to_hf(biased, tmp_path / "one", drop_bias=True, labels="reward")
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert (config["mean"], config["std"]) == (1.5 + 1.1875, 0.5)
    (tmp_path / "rows.jsonl").touch()
    store(tmp_path / "one", {**FIGURES, "reward": {"mean": 3.0, "std": 2.0}}, tmp_path / "rows.jsonl")
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert (config["mean"], config["std"]) == (3.0 + 1.1875, 2.0)


def test_figures_of_an_export_are_not_those_of_what_others_train_from_it(reward_nemo: Path, tmp_path: Path) -> None:
    """Trainers keep config.json, our figures in it included."""
    folder = tmp_path / "hf"
    convert_to_hf(reward_nemo, folder)
    assert stored(folder) == FIGURES
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"score.weight": weights["score.weight"] + 1}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="no mean and std of these weights are stored; measure them once"):
        stored(folder)
    convert_from_hf(folder, tmp_path / "nemo")
    assert STANDARDIZATION not in opening.read_manifest(tmp_path / "nemo")
    (tmp_path / "rows.jsonl").touch()
    store(folder, FIGURES, tmp_path / "rows.jsonl")
    assert stored(folder)["reward"] == FIGURES["reward"]


@pytest.mark.parametrize(("length", "positions"), [(128, 4096), (8192, 8192)])
def test_the_length_of_training_goes_along(length: int, positions: int, nemo: Path, tmp_path: Path) -> None:
    """RoPE goes on past the base model's positions, and so may a run."""
    edit_yaml(nemo, encoder_seq_length=length)
    convert_to_hf(nemo, tmp_path / "hf")
    config = AutoConfig.from_pretrained(tmp_path / "hf")
    assert (config.model_max_length, config.max_position_embeddings) == (length, positions)
    assert AutoTokenizer.from_pretrained(tmp_path / "hf").model_max_length == length
    convert_from_hf(tmp_path / "hf", tmp_path / "again")
    assert opening.read_config(tmp_path / "again")["encoder_seq_length"] == length
    long = Conversation("1", (Message("user", "a"), Message("assistant", "b" * length)))
    with pytest.raises(DataError, match=f"1 of 1 rows are longer than {length} tokens"):
        open_scorer(tmp_path / "hf").score([long])


def test_nemotron_layout_is_a_language_model_with_the_reward_in_row_0(reward_nemo: Path, tmp_path: Path) -> None:
    convert_to_hf(reward_nemo, tmp_path / "back", hf_layout="nemotron-reward")
    tensors = tensors_of(tmp_path / "back")
    head = StoredTensors(reward_nemo / layout.WEIGHTS).read(HEAD)
    assert tensors["lm_head.weight"].shape == tensors["model.embed_tokens.weight"].shape
    torch.testing.assert_close(tensors["lm_head.weight"][0], torch.tensor([0.5, 0.75, -0.25]) @ head)
    assert not tensors["lm_head.weight"][1:].any()
    assert not GenerationConfig.from_pretrained(tmp_path / "back").do_sample


def test_a_published_nemotron_reward_model_is_read_by_its_row_0(tmp_path: Path) -> None:
    """It looks like any language model: the layout has to be named, and what its files do not say is inferred."""
    source = save_llama(tmp_path / "hf")
    (source / "chat_template.jinja").write_text(TURNS)
    convert_from_hf(source, tmp_path / "nemo", hf_layout="nemotron-reward")
    head = opening.read_config(tmp_path / "nemo")["head"]
    expected = {"attributes": ["helpfulness"], "reward_weights": [1.0], "bias": False, "template": "tokenizer"}
    assert head == expected
    found = read_tensors(tmp_path / "nemo" / layout.WEIGHTS, [HEAD])[HEAD]
    assert found.equal(tensors_of(source)["lm_head.weight"][:1])


@pytest.mark.parametrize(
    ("labels", "weights"),
    [(["score"], [1.0]), (["correctness", "helpfulness"], [0.0, 1.0]), (["a", "b"], None)],
)
def test_rewards_of_other_peoples_classifiers(labels: list[str], weights: list[float] | None, tmp_path: Path) -> None:
    source = save_reward_model(tmp_path / "hf", "llama3", id2label=dict(enumerate(labels)))
    edit_json(source / "config.json", hs2pref={})
    (source / "chat_template.jinja").write_text(TURNS)
    if weights is None:
        with pytest.raises(CheckpointError, match="nothing says how a, b make a reward; add their weights to"):
            convert_from_hf(source, tmp_path / "nemo")
        return
    convert_from_hf(source, tmp_path / "nemo")
    assert opening.read_config(tmp_path / "nemo")["head"]["reward_weights"] == weights


@pytest.mark.parametrize(
    ("changes", "asked", "sentence"),
    [
        (
            {"hs2pref": {"template": "extra_id", "reward_weights": [1.0]}},
            None,
            "1 reward_weights in config.json for 3 labels",
        ),
        ({"id2label": {0: "a", 1: "b"}}, None, r"score.weight is \[3, 256\], config.json asks for \[2, 256\]"),
        ({}, "causal-lm", "--layout causal-lm needs LlamaForCausalLM, this is LlamaForSequenceClassification"),
    ],
)
def test_heads_that_do_not_fit_are_refused(
    changes: dict[str, Any], asked: str | None, sentence: str, tmp_path: Path
) -> None:
    source = save_reward_model(tmp_path / "hf", "llama3")
    edit_json(source / "config.json", **changes)
    with pytest.raises(CheckpointError, match=sentence):
        convert_from_hf(source, tmp_path / "nemo", hf_layout=asked)
    assert not (tmp_path / "nemo").exists()


def test_tied_embeddings_hold_no_reward_head(tmp_path: Path) -> None:
    source = save_llama(tmp_path / "hf", tie_word_embeddings=True)
    with pytest.raises(CheckpointError, match="tie_word_embeddings is true, so no row of lm_head can be a reward head"):
        convert_from_hf(source, tmp_path / "nemo", hf_layout="nemotron-reward")


def test_a_layout_without_the_head_is_refused(reward_nemo: Path, tmp_path: Path) -> None:
    sentence = "a reward head and no output layer, which --layout causal-lm cannot hold; choose sequence-class"
    with pytest.raises(CheckpointError, match=sentence):
        convert_to_hf(reward_nemo, tmp_path / "back", hf_layout="causal-lm")
    convert_from_hf(save_llama(tmp_path / "hf"), tmp_path / "language")
    with pytest.raises(CheckpointError, match="no reward head, which --layout nemotron-reward cannot hold; choose c"):
        convert_to_hf(tmp_path / "language", tmp_path / "back", hf_layout="nemotron-reward")


# The card


def test_card_has_metrics_configuration_and_data(nemo: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "manifest.json").write_text('{"format": "helpsteer2", "rows": 20324}')
    run = {"loss": {"name": "scaled_bt"}, "data": {"dir": str(data)}}
    about = {"step": 105, "metrics": {"val_pairs_accuracy": 0.75}, "run": run}
    layout.write_manifest(nemo, opening.read_manifest(nemo) | about)
    convert_to_hf(nemo, tmp_path / "back")
    card = (tmp_path / "back" / "README.md").read_text()
    for text in (
        "| val_pairs_accuracy | 0.75 |",
        "step: 105",
        "name: scaled_bt",
        '"rows": 20324',
        "reward = 0.5 helpfulness + 0.75 correctness - 0.25 verbosity",
        "Over 7 responses of ratings.train.jsonl the reward has mean 1.5 and standard deviation 0.5",
    ):
        assert text in card
