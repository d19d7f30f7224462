"""The in-framework engine: token by token what transformers gives, in every layout, with a trainer's probabilities."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from generation_worker import END, NEW, PROMPTS
from transformers import LlamaForCausalLM

WORKER = Path(__file__).parent / "generation_worker.py"
LAYOUTS = {"tensor": (2, 1, "no"), "tensor and sequence": (2, 1, "yes"), "pipeline": (1, 2, "no")}


@pytest.fixture(scope="module")
def completions(llama_tiny: Path, launch: Callable[..., str]) -> Callable[[str], dict[str, Any]]:
    done: dict[str, dict[str, Any]] = {}

    def run(layout: str) -> dict[str, Any]:
        if layout not in done:
            tensor, pipeline, sequence = LAYOUTS.get(layout, (1, 1, "no"))
            printed = launch(WORKER, llama_tiny, tensor, pipeline, sequence, processes=tensor * pipeline)
            done[layout] = json.loads(next(line for line in printed.splitlines() if line.startswith('{"greedy')))
        return done[layout]

    return run


@pytest.fixture(scope="module")
def reference(llama_tiny_hf: Path) -> Any:
    return LlamaForCausalLM.from_pretrained(llama_tiny_hf).eval()


@torch.no_grad()
def test_greedy_tokens_are_transformers(completions: Callable[[str], dict[str, Any]], reference: Any) -> None:
    for number, prompt in enumerate(PROMPTS):
        tokens = torch.tensor([prompt])
        expected = reference.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),  # or generate takes a last token of 0 for padding
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=END,
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
        ((tokens, _, is_finished),) = completions("one")["greedy 10000"][str(number)]
        assert tokens == expected
        assert is_finished == (tokens[-1] == END)


@torch.no_grad()
def test_log_probabilities_are_those_of_the_temperature(
    completions: Callable[[str], dict[str, Any]], reference: Any
) -> None:
    """Before top_p cuts the distribution: what a trainer computes again."""
    for number, prompt in enumerate(PROMPTS):
        for tokens, log_probs, _ in completions("one")["sampled 10000"][str(number)]:
            logits = reference(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
            expected = torch.log_softmax(logits / 0.7, dim=-1)[torch.arange(len(tokens)), torch.tensor(tokens)]
            torch.testing.assert_close(torch.tensor(log_probs), expected, rtol=0, atol=1e-4)


def test_samples_are_different_and_the_same_in_whatever_batch(completions: Callable[[str], dict[str, Any]]) -> None:
    found = completions("one")
    for name in ("greedy", "sampled"):
        together, alone = found[f"{name} 10000"], found[f"{name} 1"]
        for key, samples in together.items():
            assert [tokens for tokens, _, _ in samples] == [tokens for tokens, _, _ in alone[key]]
    (first, second, third) = (tokens for tokens, _, _ in found["sampled 10000"]["0"])
    assert first != second != third


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_tokens(layout: str, completions: Callable[[str], dict[str, Any]]) -> None:
    one, other = completions("one"), completions(layout)
    assert other["equal_on_all_ranks"]
    for name in ("greedy 10000", "sampled 10000"):
        for key, samples in one[name].items():
            assert [tokens for tokens, _, _ in samples] == [tokens for tokens, _, _ in other[name][key]]
