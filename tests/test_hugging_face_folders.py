"""Every verb that opens a Hugging Face folder reads it in one way: the same rewards, or the same one sentence.

The folders are a small random reward model with one thing changed, as files on the hub have it.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_tokenizers import LLAMA3_TEMPLATE, llama3
from families import edit_json
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    Qwen2Config,
    Qwen2ForSequenceClassification,
)

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.records import write_jsonl
from nemo_hs2pref.evaluation.scores import read_scores

ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SIZES: dict[str, Any] = {
    "vocab_size": 264,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "rope_theta": 500_000.0,
    "tie_word_embeddings": False,
}
LONG = "Rivers carry salt to the sea, and it stays there. " * 4
ROWS: list[dict[str, Any]] = [
    {"id": "a", "messages": [{"role": "user", "content": "Why is it salt?"}, {"role": "assistant", "content": LONG}]},
    {"id": "b", "messages": [{"role": "user", "content": LONG}, {"role": "assistant", "content": "It is not."}]},
]
PAIRS = [{"id": "p", "prompt": "Why is it salt?", "chosen": LONG, "rejected": "It is not.", "strength": 1}]
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d7a" * 16 + "\nsize 134\n"


def saved(folder: Path, model: Any, tokenizer: Any = None) -> Path:
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    (tokenizer or llama3()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As transformers 4 saves a reward model."""
    config = LlamaConfig(**SIZES, rope_scaling=dict(ROPE), num_labels=1, pad_token_id=256)
    return saved(tmp_path_factory.mktemp("sound") / "rm", LlamaForSequenceClassification(config))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_jsonl(folder / "rows.jsonl", ROWS)
    write_jsonl(folder / "pairs.jsonl", PAIRS)
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(sound, tmp_path / "rm"))


def scored(model: Path, files: Path, out: Path) -> dict[str, float]:
    assert main(["score", "--model", str(model), "--input", str(files / "rows.jsonl"), "--output", str(out)]) == 0
    return {score.id: score.reward for score in read_scores(out)}


VERBS = {
    "score": "score --model {model} --input {files}/rows.jsonl --output {out}",
    "evaluate": "evaluate preferences --model {model} --input {files}/pairs.jsonl --out {out}",
    "from-hf": "convert from-hf {model} {out}",
    "extrapolate": "extrapolate --weak {sound} --strong {model} --out {out}",
    "average": "extrapolate --average {model} {sound} --out {out}",
    "verify": "checkpoint verify {model}",
}


def drop(file: Path, *keys: str, **values: Any) -> None:
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in stored.items() if key not in keys} | values))


def config(*keys: str, **values: Any) -> Callable[[Path], None]:
    """config.json without `keys` and with `values`."""
    return lambda folder: drop(folder / "config.json", *keys, **values)


def tokenizer_config(*keys: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: drop(folder / "tokenizer_config.json", *keys, **values)


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        stored = load_file(folder / "model.safetensors")
        change(stored)
        save_file(stored, folder / "model.safetensors", {"format": "pt"})

    return changed


def renamed(old: str, new: str) -> Callable[[Path], None]:
    return tensors(lambda stored: stored.__setitem__(new, stored.pop(old)))


def shards(folder: Path) -> None:
    model = LlamaForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="100KB")


def with_stale_index(folder: Path) -> None:
    """The shards of another model lie beside the one file."""
    whole = (folder / "model.safetensors").read_bytes()
    tensors(lambda stored: stored["score.weight"].neg_())(folder)
    shards(folder)
    (folder / "model.safetensors").write_bytes(whole)


def as_backend(folder: Path) -> None:
    """As transformers 5 writes a tokenizer: the class has no name of its own, and the template is a file."""
    drop(
        folder / "tokenizer_config.json",
        *("added_tokens_decoder", "chat_template"),
        tokenizer_class="TokenizersBackend",
        backend="tokenizers",
        is_local=True,
    )
    (folder / "special_tokens_map.json").unlink()
    (folder / "chat_template.jinja").write_text(LLAMA3_TEMPLATE)


V5 = {"rope_parameters": {**ROPE, "rope_theta": 500_000.0}, "dtype": "float32", "transformers_version": "5.12.1"}
as_version_5 = config("rope_theta", "rope_scaling", "torch_dtype", **V5)
SAME = {
    "saved by transformers 5": as_version_5,
    "both spellings that agree": config(rope_parameters=V5["rope_parameters"], dtype="float32"),
    "the old name of the type": config("rope_scaling", rope_scaling={"type": "llama3", **ROPE}),
    "keys of others": config(
        **{
            "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}},
            "is_llama_config": True,
            "rope_interleaved": False,
            "unsloth_version": "2024.9",
            "layer_types": ["full_attention"] * 2,
            "num_labels": 1,
            "hs2pref": None,
            "use_mrope": False,
            "mean": 0.5,
            "std": 2.0,
            "temperature": 0.6,
            "return_dict": False,
            "torchscript": True,
            "sliding_window": None,
        }
    ),
    "padded by the token that ends the text": lambda folder: (
        config(pad_token_id=260)(folder),
        tokenizer_config(pad_token="<|eot_id|>")(folder),
    ),
    "no padding token": config(pad_token_id=None),
    "a list of special tokens": tokenizer_config(extra_special_tokens=["<|eom_id|>"]),
    "TokenizersBackend": as_backend,
    "named templates with a default": tokenizer_config(
        chat_template=[
            {"name": "default", "template": LLAMA3_TEMPLATE},
            {"name": "tool_use", "template": "{{ 'tools' }}"},
        ]
    ),
    "sharded": shards,
    "one file and an index of others": with_stale_index,
    "frequencies that old versions saved": tensors(
        lambda stored: stored.__setitem__("model.layers.0.self_attn.rotary_emb.inv_freq", torch.ones(8))
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_every_verb_reads_the_same_model(name: str, sound: Path, folder: Path, files: Path, tmp_path: Path) -> None:
    expected = scored(sound, files, tmp_path / "sound.jsonl")
    SAME[name](folder)
    assert scored(folder, files, tmp_path / "here.jsonl") == pytest.approx(expected, abs=1e-5)

    assert main(["convert", "from-hf", str(folder), str(tmp_path / "nemo")]) == 0
    assert main(["convert", "to-hf", str(tmp_path / "nemo"), str(tmp_path / "back")]) == 0
    assert scored(tmp_path / "back", files, tmp_path / "back.jsonl") == pytest.approx(expected, abs=1e-5)

    assert main(["extrapolate", "--average", str(folder), str(folder), "--out", str(tmp_path / "mean")]) == 0
    assert scored(tmp_path / "mean", files, tmp_path / "mean.jsonl") == pytest.approx(expected, abs=1e-5)
    assert main(["checkpoint", "verify", str(folder)]) == 0
    assert main(["checkpoint", "inspect", str(folder)]) == 0


def test_a_row_has_one_reward_alone_and_in_a_batch(folder: Path, files: Path, tmp_path: Path) -> None:
    """Also where the padding token ends every message."""
    SAME["padded by the token that ends the text"](folder)
    together = scored(folder, files, tmp_path / "together.jsonl")
    for row in ROWS:
        write_jsonl(tmp_path / "rows.jsonl", [row])
        assert scored(folder, tmp_path, tmp_path / f"{row['id']}.jsonl") == pytest.approx(
            {row["id"]: together[row["id"]]}, abs=1e-5
        )


def test_a_text_that_ends_with_padding_is_told(
    folder: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SAME["padded by the token that ends the text"](folder)
    for verb in ("score", "from-hf", "verify"):
        words = VERBS[verb].format(model=folder, files=files, out=tmp_path / verb, sound=folder)
        assert main(words.split()) == 0
        told = capsys.readouterr()
        assert "its text ends with the padding token; the reward is read there" in told.out + told.err, verb


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    # config.json
    "an unknown key": (config(use_qk_norm=True), "the key 'use_qk_norm' (True) is not known for llama"),
    "a multiplier": (config(embedding_multiplier=12.0), "the key 'embedding_multiplier'"),
    "rope by layer": (
        config("rope_theta", "rope_scaling", rope_parameters={"full_attention": {"rope_type": "default"}}),
        "rope_parameters differ by layer (full_attention)",
    ),
    "another rope": (config("rope_scaling", rope_scaling={"type": "yarn", "factor": 2.0}), "has the type yarn"),
    "another rope of version 5": (
        config("rope_theta", "rope_scaling", rope_parameters={"rope_type": "longrope"}),
        "rope_parameters has the type longrope",
    ),
    "two ropes": (config(rope_parameters={"rope_type": "default", "rope_theta": 1e4}), "rope_theta is 500000.0 and"),
    "two types": (
        config("rope_scaling", rope_scaling={"type": "linear", "rope_type": "llama3"}),
        "has the type linear and llama3",
    ),
    "a figure is missing": (
        config("rope_scaling", rope_scaling={"rope_type": "llama3", "factor": 8.0}),
        "rope_scaling: low_freq_factor is None",
    ),
    "a figure too many": (config("rope_scaling", rope_scaling=ROPE | {"mscale": 1.0}), "has mscale=1.0, not known"),
    "part of the head": (config(partial_rotary_factor=0.5), "the key 'partial_rotary_factor' (0.5)"),
    "quantized": (
        config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        "quantization_config says that weights are quantized (bitsandbytes)",
    ),
    "code": (config(auto_map={"AutoModel": "x.Y"}), "names code of its own (auto_map)"),
    "broken": (text("config.json", '{"a":'), "config.json: not JSON ("),
    "a list": (text("config.json", "[1]"), "config.json: not a JSON object (but a list)"),
    "deep": (text("config.json", '{"a":' + "[" * sys.getrecursionlimit() * 50), "config.json: not JSON ("),
    "text in the place of a number": (config(hidden_size="64"), "hidden_size is '64'; expected a whole number above 0"),
    "null": (config(num_hidden_layers=None), "num_hidden_layers is 'None'; expected a whole number above 0"),
    "several paddings": (config(pad_token_id=[1]), "pad_token_id is '[1]'; expected a token's number"),
    "an immense base": (config(rope_theta=10**30), "expected a number above 0"),
    "layers that are no names": (config(layer_types=[[1]]), "the key 'layer_types' ([[1]])"),
    "no heads": (config(num_attention_heads=0), "num_attention_heads is 0; expected 1 to"),
    "heads that do not divide": (config(num_key_value_heads=3), "num_attention_heads is 4, no multiple of"),
    "labels with a gap": (config(id2label={"1": "a"}), "id2label is"),
    "labels as a list": (config(id2label=["a"]), "id2label is"),
    "a factor without a type": (
        config(rope_scaling={"factor": 2.0}),
        "rope_scaling has factor=2.0, not known of type default",
    ),
    "a misspelt key of ours": (
        config(hs2pref={"tempalte": "llama3"}),
        'under "hs2pref" is not known; did you mean template?',
    ),
    "our key as text": (config(hs2pref="x"), "hs2pref is 'x'; expected an object"),
    "weights as text": (config(hs2pref={"reward_weights": "1"}), "reward_weights is '1'; expected a list of numbers"),
    "an unknown template": (config(hs2pref={"template": "vicuna"}), "template 'vicuna' is not known"),
    "a dtype": (config(torch_dtype="int4"), "torch_dtype is 'int4'; expected one of float32"),
    "an architecture": (config(architectures=["LlamaForTokenClassification"]), "of Llamas only LlamaForCausalLM and"),
    "architectures as text": (config(architectures="Llama"), "architectures is 'Llama'; expected a list"),
    "an unknown type": (config(model_type="no_such"), "transformers cannot read it (model_type 'no_such'"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json: not found"),
    # weights
    "a pointer to weights": (text("model.safetensors", LFS), "model.safetensors: a Git LFS pointer"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "has neither model.safetensors nor"),
    "cut weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-5]),
        "its tensors end at",
    ),
    "a value head": (renamed("score.weight", "v_head.summary.weight"), "its head is v_head.summary.weight, as another"),
    "a regression head": (renamed("score.weight", "regression_head.weight"), "its head is regression_head.weight"),
    "two heads": (
        tensors(lambda stored: stored.__setitem__("value_head.weight", torch.ones(1, 64))),
        "its head is value_head.weight",
    ),
    "a head of layers": (renamed("score.weight", "score.0.weight"), "its head is score.0.weight"),
    "a head with a bias": (
        tensors(lambda stored: stored.__setitem__("score.bias", torch.ones(1))),
        "its head is score.bias",
    ),
    "a head in a file": (text("value_head.safetensors", ""), "its head is value_head.safetensors"),
    "no head": (tensors(lambda stored: stored.pop("score.weight")), "tensor score.weight is missing"),
    "biases": (
        tensors(lambda stored: stored.__setitem__("model.layers.0.self_attn.q_proj.bias", torch.ones(64))),
        "tensor model.layers.0.self_attn.q_proj.bias is not one that its config.json asks for",
    ),
    "a layer too few": (config(num_hidden_layers=3), "is missing, one of 9 that config.json asks for"),
    "another shape": (config(intermediate_size=128), "is [96, 64], config.json asks for [128, 64]"),
    # tokenizer
    "a tokenizer of too many": (
        lambda folder: save_larger(folder),
        "the tokenizer has 281 tokens, the model embeds 264",
    ),
    "a pointer to the tokenizer": (text("tokenizer.json", LFS), "tokenizer.json: a Git LFS pointer"),
    "a pointer to its settings": (text("tokenizer_config.json", LFS), "tokenizer_config.json: a Git LFS pointer"),
    "a broken tokenizer": (text("tokenizer.json", "{}"), "no tokenizer that transformers can read ("),
    "broken settings": (text("tokenizer_config.json", "[]"), "tokenizer_config.json: not a JSON object"),
    "no tokenizer": (
        lambda folder: [file.unlink() for file in folder.glob("*token*")],
        "no tokenizer that transformers can read (",
    ),
    "code of a tokenizer": (
        tokenizer_config(tokenizer_class="OwnTokenizer", auto_map={"AutoTokenizer": ["x.Y", None]}),
        "no tokenizer that transformers can read (",
    ),
    "named templates": (
        tokenizer_config(chat_template=[{"name": "rag", "template": "a"}, {"name": "tool_use", "template": "b"}]),
        "has chat templates (rag, tool_use) and none is the default",
    ),
    "a number as a template": (tokenizer_config(chat_template=1), "chat_template is '1'; expected text"),
    "no length": (tokenizer_config(model_max_length="long"), "model_max_length is 'long'; expected a number of tokens"),
    "no template": (tokenizer_config("chat_template"), "the tokenizer has no chat template, so its text is not known"),
    # others
    "adapters": (
        text("adapter_config.json", '{"base_model_name_or_path": "org/base"}'),
        "holds adapters of org/base, not a whole model; merge them",
    ),
    "adapters alone": (
        lambda folder: [
            (folder / "config.json").unlink(),
            (folder / "model.safetensors").rename(folder / "adapter_model.safetensors"),
            (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}'),
        ],
        "holds adapters of org/base, not a whole model; merge them",
    ),
}
for place in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
    REFUSED[f"a folder named {place}"] = (
        lambda folder, place=place: ((folder / place).unlink(), (folder / place).mkdir()),
        f"{place}: a folder, where a file is expected",
    )


def save_larger(folder: Path) -> None:
    tokenizer = llama3()
    tokenizer.add_tokens([f"<x{i}>" for i in range(20)], special_tokens=True)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("name", REFUSED)
def test_every_verb_refuses_in_the_same_sentence(
    name: str, sound: Path, folder: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, sentence = REFUSED[name]
    change(folder)
    for verb, words in VERBS.items():
        filled = words.format(model=folder, files=files, out=tmp_path / "out", sound=sound)
        code = main(filled.split())
        told = capsys.readouterr()
        lines = [line for line in (told.out + told.err).splitlines() if sentence in line]
        assert code == 2 or (verb == "verify" and code == 1), (verb, told)
        assert len(lines) == 1, (verb, told)
        assert "Traceback" not in told.err and not (tmp_path / "out").exists(), verb


@pytest.mark.parametrize("damage", ["pointer", "missing", "broken", "outside"])
def test_a_damaged_index_or_shard_is_named_by_every_verb(
    damage: str, sound: Path, folder: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards(folder)
    index, shard = folder / "model.safetensors.index.json", sorted(folder.glob("model-*"))[1]
    change, named = {
        "pointer": (lambda: shard.write_text(LFS), f"{shard.name}: a Git LFS pointer"),
        "missing": (shard.unlink, f"{shard.name}: "),
        "broken": (lambda: index.write_text("{}"), f"{index.name}: no index of weight files"),
        "outside": (lambda: edit_json(index, weight_map={"score.weight": "../x"}), "outside of the folder"),
    }[damage]
    change()
    for verb, words in VERBS.items():
        code = main(words.format(model=folder, files=files, out=tmp_path / "out", sound=sound).split())
        told = capsys.readouterr()
        assert code == 2 or (verb == "verify" and code == 1), (verb, told)
        assert named in told.out + told.err, (verb, told)


# Language models, and classifiers of other architectures


def test_a_language_model_of_transformers_5_converts_to_the_same_base(tmp_path: Path) -> None:
    from nemo_hs2pref.checkpoint.opening import read_config

    model = LlamaForCausalLM(LlamaConfig(**SIZES, rope_scaling=dict(ROPE)))
    saved(tmp_path / "v4", model)
    shutil.copytree(tmp_path / "v4", tmp_path / "v5")
    as_version_5(tmp_path / "v5")
    for name in ("v4", "v5"):
        assert main(["convert", "from-hf", str(tmp_path / name), str(tmp_path / f"nemo-{name}")]) == 0
    v4, v5 = (read_config(tmp_path / f"nemo-{name}") for name in ("v4", "v5"))
    assert v5 == v4 and (v5["rotary_base"], v5["scale_factor"]) == (500_000.0, 8.0)


@pytest.mark.parametrize("head", ["v_head.weight", "score.weight"])
def test_a_head_beside_a_language_model_is_not_left_out(
    head: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved(tmp_path / "lm", LlamaForCausalLM(LlamaConfig(**SIZES)))
    tensors(lambda stored: stored.__setitem__(head, torch.ones(1, 64)))(folder)
    assert main(["convert", "from-hf", str(folder), str(tmp_path / "nemo")]) == 2
    assert head in capsys.readouterr().err


def qwen2(folder: Path) -> Path:
    config = Qwen2Config(**SIZES, num_labels=1, pad_token_id=256)
    return saved(folder, Qwen2ForSequenceClassification(config))


def bert(folder: Path) -> Path:
    sizes = {key: SIZES[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")}
    config = BertConfig(**sizes, intermediate_size=96, max_position_embeddings=2048, num_labels=1, pad_token_id=256)
    return saved(folder, BertForSequenceClassification(config))


@pytest.mark.parametrize("make", [qwen2, bert])
def test_classifiers_of_other_architectures_have_transformers_rewards(
    make: Callable[[Path], Path], files: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = make(tmp_path / "hf")
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = scored(folder, files, tmp_path / "scores.jsonl")
    for row in ROWS:
        tokens = tokenizer.apply_chat_template(row["messages"], return_tensors="pt")
        with torch.no_grad():
            assert found[row["id"]] == pytest.approx(model(tokens).logits.item(), abs=1e-5)
    assert main(["checkpoint", "verify", str(folder)]) == 0


def test_another_architecture_saved_by_transformers_5_has_the_same_rewards(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = qwen2(tmp_path / "hf")
    expected = scored(folder, files, tmp_path / "v4.jsonl")
    parameters = {"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}, "dtype": "float32"}
    config("rope_theta", "rope_scaling", "torch_dtype", **parameters)(folder)
    assert scored(folder, files, tmp_path / "v5.jsonl") == expected
    config(embedding_multiplier=12.0)(folder)
    words = ["--input", str(files / "rows.jsonl"), "--output", str(tmp_path / "out")]
    assert main(["score", "--model", str(folder), *words]) == 2
    assert "the key 'embedding_multiplier' (12.0) is not known for qwen2" in capsys.readouterr().err
