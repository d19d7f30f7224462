"""The context/ of a NeMo 2.0 checkpoint of a Llama 3.1."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

WRITTEN = Path(__file__).with_name("nemo2_model.yaml")  # by NeMo itself
SIZES = (
    *("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "num_query_groups", "kv_channels"),
    *("layernorm_epsilon", "init_method_std", "rotary_base", "old_context_len"),
)


def write_context(folder: Path, config: Mapping[str, Any], tokenizer: Path) -> None:
    """`folder`/context with NeMo's own model.yaml and the sizes of `config`, NeMo 1.x's; the tokenizer is copied."""
    model = yaml.safe_load(WRITTEN.read_text())
    model["config"] |= {key: config[key] for key in SIZES} | {"seq_length": config["encoder_seq_length"]}
    (folder / "context").mkdir(parents=True)
    (folder / "context" / "model.yaml").write_text(yaml.safe_dump(model))
    shutil.copytree(tokenizer, folder / "context" / model["tokenizer"]["pretrained_model_name"])
