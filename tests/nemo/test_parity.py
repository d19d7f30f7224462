"""A converted model computes what transformers computes; Llama-3.1's RoPE scaling included."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.small_models.smollm2 import smollm2_source
from nemo_hs2pref.checkpoint.small_models.tiny import LLAMA, QWEN, SIZES, write_qwen_tiny

WORKER = Path(__file__).parent / "parity_worker.py"


@pytest.fixture(scope="module")
def differences(
    tmp_path_factory: pytest.TempPathFactory, llama_tiny: Path, llama_tiny_hf: Path, launch: Callable[..., str]
) -> dict[str, dict[str, Any]]:
    """One launch for all models: SmolLM2, and random Llama-3.1 configurations with factors 8 and 32."""
    folder = tmp_path_factory.mktemp("parity")
    factor_32 = folder / "factor_32"
    scaling = {**LLAMA["rope_scaling"], "factor": 32.0}
    LlamaForCausalLM(
        LlamaConfig(**{**SIZES, **LLAMA, "rope_scaling": scaling, "tie_word_embeddings": True})
    ).save_pretrained(factor_32)
    PreTrainedTokenizerFast.from_pretrained(llama_tiny_hf).save_pretrained(factor_32)
    tied = folder / "qwen_tied"
    qwen = Qwen2ForCausalLM(Qwen2Config(**{**SIZES, **QWEN, "tie_word_embeddings": True}))
    for name, parameter in qwen.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter)
    qwen.save_pretrained(tied)
    PreTrainedTokenizerFast.from_pretrained(llama_tiny_hf).save_pretrained(tied)
    sources = {"smollm2": smollm2_source(), "factor 8": llama_tiny_hf, "factor 32": factor_32}
    sources |= {"qwen": write_qwen_tiny(folder / "qwen_tiny"), "qwen tied": tied}
    words: list[object] = []
    for name, source in sources.items():
        target = llama_tiny if name == "factor 8" else folder / f"{name} nemo"
        if not target.exists():
            convert_from_hf(source, target)
        words += [source, target]
    lines = [line for line in launch(WORKER, *words).splitlines() if line.startswith('{"hidden"')]
    return dict(zip(sources, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("model", ["smollm2", "factor 8", "factor 32", "qwen", "qwen tied"])
def test_hidden_states_and_logits_equal_transformers(model: str, differences: dict[str, dict[str, Any]]) -> None:
    """Fault 7 of Aligner: the reward model forgets the scaling, which matters beyond position 256 / 8 here."""
    assert differences[model]["hidden"] < 1e-4
    assert differences[model]["logits"] < 1e-4


def test_the_cases_are_the_ones_that_can_go_wrong(differences: dict[str, dict[str, Any]]) -> None:
    assert [differences[f"factor {n}"]["scaling"]["factor"] for n in (8, 32)] == [8, 32]
    assert differences["factor 8"]["vocabulary"] % 128 != 0
