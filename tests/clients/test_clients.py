"""Other projects on an exported reward model: they must compute our rewards, or refuse."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clients_common import LENGTH, REWARDBENCH, scores
from transformers import AutoTokenizer

from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf
from nemo_hs2pref.data.records import Message
from nemo_hs2pref.data.templates.tokens import make_tokenize

pytestmark = pytest.mark.clients
QUESTION = [{"role": "user", "content": "What is 2 + 2?"}]
ANSWERS = [{"role": "assistant", "content": "4"}], [{"role": "assistant", "content": "5, I think."}]


def test_the_newest_transformers_gives_the_rewards_of_score(
    exported: dict[str, Path], rows: Path, client: Callable[..., str], tmp_path: Path
) -> None:
    """Also through its pipeline, which would show classes through a softmax or sigmoid."""
    found = json.loads(client("client_rewards.py", rows, *exported.values()))
    for family, folder in exported.items():
        ours = list(scores(folder, rows, tmp_path / f"{family}.jsonl").values())
        assert max(ours) - min(ours) > 0.1  # the rows differ, or equality would say little
        for way, theirs in found[str(folder)].items():
            assert theirs == pytest.approx(ours, rel=0, abs=1e-4), f"{family}, {way}"


def test_trl_trains_one_step_and_its_model_comes_back(
    exported: dict[str, Path], rows: Path, client: Callable[..., str], tmp_path: Path
) -> None:
    """Llama 3.1's RoPE among it, which transformers 5 saves under other names."""
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text((json.dumps({"prompt": QUESTION, "chosen": ANSWERS[0], "rejected": ANSWERS[1]}) + "\n") * 2)
    trained = tmp_path / "trained"
    said = json.loads(client("client_trl.py", exported["llama31"], pairs, trained))
    tokenize = make_tokenize(AutoTokenizer.from_pretrained(exported["llama31"]), "extra_id")
    assert said["tokens"] == tokenize([[Message(**turn) for turn in QUESTION + answer] for answer in ANSWERS])
    assert said["moved"] > 0
    theirs = json.loads(client("client_rewards.py", rows, trained))[str(trained)]["right"]
    assert list(scores(trained, rows, tmp_path / "1.jsonl").values()) == pytest.approx(theirs, rel=0, abs=1e-4)
    convert_from_hf(trained, tmp_path / "nemo")
    convert_to_hf(tmp_path / "nemo", tmp_path / "back")
    again = scores(tmp_path / "back", rows, tmp_path / "2.jsonl")
    assert list(again.values()) == pytest.approx(theirs, rel=0, abs=1e-4)


def test_rewardbench_decides_as_we_do(
    exported: dict[str, Path], shared_data: Path, client: Callable[..., str], tmp_path: Path
) -> None:
    """Its own scorer, on pairs of LLMBar; it takes whole conversations."""
    pairs = list(llmbar(shared_data))
    ours, theirs = tmp_path / "ours.jsonl", tmp_path / "theirs.jsonl"
    ours.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    theirs.write_text("".join(json.dumps(as_conversations(pair)) + "\n" for pair in pairs))
    model = exported["llama31"]
    rewards = scores(model, ours, tmp_path / "scores.jsonl")
    client("client_rewardbench.py", model, theirs, under=REWARDBENCH)
    found = [json.loads(line) for line in Path(f"{model}_outputs.jsonl").read_text().splitlines()]
    chosen, rejected = ([rewards[f"{pair['id']}:{side}"] for pair in pairs] for side in ("chosen", "rejected"))
    assert [row["scores_chosen"] for row in found] == pytest.approx(chosen, rel=0, abs=1e-4)
    assert [row["scores_rejected"] for row in found] == pytest.approx(rejected, rel=0, abs=1e-4)
    decisions = [int(one > other) for one, other in zip(chosen, rejected, strict=True)]
    assert [row["results"] for row in found] == decisions
    assert 0 < sum(decisions) < len(pairs)


def llmbar(shared_data: Path) -> Iterator[dict[str, Any]]:
    """Ten pairs of each set, of those that are short enough for a byte tokenizer."""
    for file in sorted((shared_data / "llmbar").glob("*.json")):
        rows = [row for row in json.loads(file.read_text()) if len(json.dumps(row)) < LENGTH // 2]
        for i, row in enumerate(rows[:10]):
            responses = [row["output_1"], row["output_2"]]
            chosen, rejected = responses if row["label"] == 1 else responses[::-1]
            yield {"id": f"{file.stem}-{i}", "prompt": row["input"], "chosen": chosen, "rejected": rejected}


def as_conversations(pair: dict[str, Any]) -> dict[str, Any]:
    prompt = {"role": "user", "content": pair["prompt"]}
    sides = {side: [prompt, {"role": "assistant", "content": pair[side]}] for side in ("chosen", "rejected")}
    return {"id": pair["id"]} | sides
