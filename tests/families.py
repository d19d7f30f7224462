"""Small random reward models of every Llama family, as transformers saves them, with tokenizers of their kinds."""

import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    AutoConfig,
    LlamaConfig,
    LlamaForSequenceClassification,
    LlamaTokenizerFast,
    PreTrainedTokenizerFast,
)

from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.hugging_face.source import open_source
from nemo_hs2pref.checkpoint.small_models.tiny import LLAMA, SIZES

ATTRIBUTES = ("helpfulness", "correctness", "verbosity")
FIGURES = {
    "rows": 7,
    "input": {"name": "ratings.train.jsonl", "sha256": "0"},
    "reward": {"mean": 1.5, "std": 0.5},
    "attributes": {name: {"mean": float(i), "std": 1.0} for i, name in enumerate(ATTRIBUTES)},
}

SYSTEM = {"role": "system", "content": "Answer in rhymes."}
CONVERSATIONS = [
    [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}],
    [
        SYSTEM,
        {"role": "user", "content": "  Tell me of the sea \n"},
        {"role": "assistant", "content": "It is wide, and salt, and free.\n\n" * 20},
        {"role": "user", "content": "Why {{ 'salt' }}? <|eot_id|> <s> É 語"},
        {"role": "assistant", "content": "Rivers carry it, you see. "},
    ],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d" * 300},
    ],
]
FAMILIES: dict[str, dict[str, Any]] = {
    "llama2": {"num_key_value_heads": 8, "rope_scaling": None, "rope_theta": 10_000.0, "rms_norm_eps": 1e-5},
    "llama3": {"rope_scaling": None},
    "llama31": {},
    "llama32": {"tie_word_embeddings": True, "head_dim": 24, "rope_scaling": LLAMA["rope_scaling"] | {"factor": 32.0}},
}


def save_reward_model(folder: Path, family: str, *, dtype: torch.dtype = torch.float32, **config: Any) -> Path:
    """A random LlamaForSequenceClassification that names its attributes; its template is extra_id."""
    torch.manual_seed(list(FAMILIES).index(family))
    ours = {"template": "extra_id", "reward_weights": [0.5, 0.75, -0.25]} | config.pop("hs2pref", {})
    labels = {"id2label": dict(enumerate(ATTRIBUTES)), "label2id": {name: i for i, name in enumerate(ATTRIBUTES)}}
    settings = {
        **SIZES,
        **LLAMA,
        "max_position_embeddings": 4096,
        **FAMILIES[family],
        **labels,
        "hs2pref": ours,
        **config,
    }
    model = LlamaForSequenceClassification(LlamaConfig(**settings))
    for name, parameter in model.named_parameters():
        if "norm" in name:  # all ones would hide a swap
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    model.to(dtype).save_pretrained(folder)
    (llama2_tokenizer if family == "llama2" else llama3_tokenizer)(folder)
    return folder


def llama2_tokenizer(folder: Path) -> None:
    """Byte pieces behind unk, bos and eos; the class adds BOS, and there is neither a pad token nor a reserved one."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *map(chr, range(33, 127)), "\u2581"]
    tokenizer = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])  # pyright: ignore[reportAttributeAccessIssue] no setter in stubs
    tokenizer.decoder = decoders.ByteFallback()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    LlamaTokenizerFast(tokenizer_object=tokenizer, add_bos_token=True, legacy=False).save_pretrained(folder)


def llama3_tokenizer(folder: Path) -> None:
    """Bytes, and Llama 3's special tokens; tokenizer.json puts BOS before every text, and EOS is used to pad."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({character: i for i, character in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|eot_id|>"]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    bos = processors.TemplateProcessing(single=f"{names[0]} $A", special_tokens=[(names[0], 256)])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), bos])  # pyright: ignore[reportAttributeAccessIssue]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=names[0], eos_token=names[3], pad_token=names[3]
    ).save_pretrained(folder)


def tensors_of(folder: Path) -> dict[str, Tensor]:
    opened = open_source(folder)
    return {name: opened.tensor(name) for name in opened.tensor_names}


def assert_same_tensors(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.dtype == second[name].dtype and value.equal(second[name]), name


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_yaml(checkpoint: Path, **changes: Any) -> None:
    config = OmegaConf.load(checkpoint / layout.CONFIG)
    OmegaConf.save(OmegaConf.merge(config, changes), checkpoint / layout.CONFIG)


def config_of(folder: Path) -> dict[str, Any]:
    """config.json with transformers' defaults."""
    return {key: value for key, value in AutoConfig.from_pretrained(folder).to_dict().items() if key != "_name_or_path"}
