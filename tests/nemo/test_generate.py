"""`hs2pref generate`: the same bytes by one process, by two, and after a kill."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates import render_prompt

WORKER = Path(__file__).parent / "generate_worker.py"
NEW = 12


def test_one_process_two_and_a_kill_give_the_same_bytes(
    llama_tiny: Path, llama_tiny_hf: Path, tmp_path: Path, launch: Callable[..., str]
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        "".join(json.dumps({"id": str(n), "prompt": "Why? " * (n + 1), "source": "x"}) + "\n" for n in range(5))
    )

    def words(name: str, *more: object) -> list[object]:
        files = ["--model", llama_tiny, "--input", prompts, "--output", tmp_path / name, "--template", "extra_id"]
        return [*files, "--max-new-tokens", NEW, *more]

    sampled = ("--samples", 2, "--top-p", 0.9)
    printed = launch(WORKER, -1, *words("one.jsonl", *sampled))
    assert "keys that are not read, with the rows that have them: source (5)" in printed
    whole = (tmp_path / "one.jsonl").read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row["id"] for row in rows] == [f"{n}:{sample}" for n in range(5) for sample in range(2)]
    assert rows[0]["messages"][1]["content"] != rows[1]["messages"][1]["content"]

    launch(WORKER, 2, *words("killed.jsonl", *sampled), check=False)
    assert not (tmp_path / "killed.jsonl").exists() and (tmp_path / "killed.jsonl.partial").is_dir()
    text = prompts.read_text()
    prompts.write_text(text.replace("Why? ", "How? "))  # the kept responses are not of these
    assert "answered before" not in launch(WORKER, 0, *words("killed.jsonl", *sampled), check=False)
    prompts.write_text(text)
    again = launch(WORKER, -1, *words("killed.jsonl", *sampled))
    assert "of 5 prompts were answered before" in again
    assert 0 < again.count("computed") < printed.count("computed")
    assert (tmp_path / "killed.jsonl").read_bytes() == whole and not (tmp_path / "killed.jsonl.partial").exists()

    launch(WORKER, -1, *words("two.jsonl", *sampled), processes=2)
    assert (tmp_path / "two.jsonl").read_bytes() == whole

    launch(WORKER, -1, *words("greedy.jsonl", "--temperature", 0))
    model, tokenizer = LlamaForCausalLM.from_pretrained(llama_tiny_hf), AutoTokenizer.from_pretrained(llama_tiny_hf)
    for line in (tmp_path / "greedy.jsonl").read_text().splitlines():
        row = json.loads(line)
        text = render_prompt([Message("user", row["messages"][0]["content"])], "extra_id")
        tokens = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            out = model.generate(
                tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=NEW, do_sample=False, pad_token_id=0
            )
        assert row["messages"][1]["content"] == tokenizer.decode(
            out[0, tokens.size(1) :], clean_up_tokenization_spaces=False
        )
