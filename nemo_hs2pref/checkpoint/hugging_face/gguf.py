"""Reading SmolLM2 from a GGUF file: quantised weights as float32, the tokenizer rebuilt from the file's own fields.

transformers reads GGUF too, and we use it for the configuration and the weights. Its tokenizer we do not: 4.49
takes the beginning-of-text token for the end-of-text one, puts it before every text, and does not split digits,
so texts would be tokenised otherwise than the model was trained. Other tokenizers than SmolLM's, and rotary
scaling (which GGUF keeps as a tensor that transformers ignores), are refused: their safetensors convert exactly.
"""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from nemo_hs2pref.checkpoint.hugging_face.folder.text import refuse_larger
from nemo_hs2pref.checkpoint.hugging_face.source import HFSource
from nemo_hs2pref.errors import CheckpointError, InstallationError

CONTROL, USER_DEFINED = 3, 4  # tokenizer.ggml.token_type of tokens that are never split


def open_gguf(path: Path) -> HFSource:
    """Open a GGUF file; the weights are dequantised at once, so this is for small models."""
    try:
        from gguf import GGUFReader  # optional: only GGUF sources need it
    except ImportError as error:
        raise InstallationError(f"{path}: reading a .gguf file needs: pip install gguf") from error
    reader = GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    _refuse_unsupported(path, fields, {tensor.name for tensor in reader.tensors})
    config = LlamaConfig(**load_gguf_checkpoint(path)["config"])
    with torch.device("meta"):
        names_only = LlamaForCausalLM(config)  # tells transformers how tensors are named in a Llama
    tensors = load_gguf_checkpoint(path, return_tensors=True, model_to_load=names_only)["tensors"]
    tokenizer = _tokenizer(fields)
    refuse_larger(tokenizer, config, path)
    return HFSource(str(path), config, tokenizer, frozenset(tensors), tensors.__getitem__)


def _refuse_unsupported(path: Path, fields: dict[str, Any], tensors: set[str]) -> None:
    if fields["general.architecture"] != "llama":
        raise CheckpointError(f"{path}: architecture is {fields['general.architecture']!r}; only 'llama' converts")
    if fields.get("tokenizer.ggml.pre") != "smollm":
        raise CheckpointError(
            f"{path}: tokenizer is {fields.get('tokenizer.ggml.pre')!r}; of GGUF files only 'smollm' converts, "
            "so use the model's safetensors folder"
        )
    if "rope_freqs.weight" in tensors or fields.get("llama.rope.scaling.type", "none") != "none":
        raise CheckpointError(f"{path}: has rotary scaling, which is lost from GGUF; use the safetensors folder")


def _tokenizer(fields: dict[str, Any]) -> PreTrainedTokenizerFast:
    """SmolLM's byte-level BPE: digits stand alone, and nothing is added before or after a text."""
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate(tokens)}, merges))
    digits, byte_level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    # tokenizers' stubs leave out the setters
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    for token, kind in zip(tokens, kinds, strict=True):
        if kind in (CONTROL, USER_DEFINED):
            tokenizer.add_tokens([AddedToken(token, special=kind == CONTROL, normalized=False)])
    named = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{f"{ours}_token": tokens[fields[f"tokenizer.ggml.{gguf}_token_id"]] for ours, gguf in named.items()},
        chat_template=fields.get("tokenizer.chat_template"),
        model_max_length=fields["llama.context_length"],
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
