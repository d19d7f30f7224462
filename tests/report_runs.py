"""Run folders as `hs2pref train` and `hs2pref evaluate` leave them, with rewards that a rule gives."""

import json
import random
from collections.abc import Callable
from pathlib import Path

from omegaconf import OmegaConf

from nemo_hs2pref.data.records import Message, PreferencePair, write_jsonl
from nemo_hs2pref.evaluation.preferences import evaluate_pairs
from nemo_hs2pref.evaluation.rewardbench import evaluate_rewardbench
from nemo_hs2pref.files import write_json
from nemo_hs2pref.recipes.rm import load_reward_model_config

Rule = Callable[[str, bool, random.Random], float]  # (response, whether it is the chosen one, chance) -> reward


def by_quality(response: str, chosen: bool, chance: random.Random) -> float:
    """Right in about 76 %, Phi(1 / sqrt 2), whatever the length; its margin is the log likelihood ratio: calibrated."""
    return chance.gauss(float(chosen), 1.0)


def by_length(response: str, chosen: bool, chance: random.Random) -> float:
    return len(response) / 100


def some_pairs(number: int = 400) -> list[PreferencePair]:
    """The chosen response is the longer one in about six of ten."""
    chance = random.Random(0)
    lengths = [(chance.randint(30, 330), chance.randint(20, 280)) for _ in range(number)]
    return [
        PreferencePair(f"p{n}", (Message("user", f"Question {n}?"),), "good " * a, "poor " * b, strength=1 + n % 3)
        for n, (a, b) in enumerate(lengths)
    ]


def rewarded(pairs: list[PreferencePair], rule: Rule) -> dict[str, float]:
    chance = random.Random(1)
    return {
        side.id: rule(side.messages[-1].content, side.id.endswith(":chosen"), chance)
        for pair in pairs
        for side in pair.conversations()
    }


def write_evaluation(folder: Path, pairs: list[PreferencePair], rewards: dict[str, float], **more: object) -> None:
    """As `hs2pref evaluate preferences` writes it; `more` is added to the summary."""
    given = {"name": "data/pairs.validation.jsonl", "sha256": "ab" * 32, "rows": len(pairs)}
    model = str(folder.parent / "checkpoints" / "last")
    head = {"benchmark": "preferences", "input": given, "model": model, "scores": None, "goodness": None}
    folder.mkdir(parents=True)
    write_json(folder / "summary.json", {**head, **evaluate_pairs(pairs, rewards).to_json(), **more})
    write_jsonl(
        folder / "scored_pairs.jsonl",
        (
            {
                **pair.to_json(),
                "chosen_reward": rewards[f"{pair.id}:chosen"],
                "rejected_reward": rewards[f"{pair.id}:rejected"],
            }
            for pair in pairs
        ),
    )


def write_rewardbench(folder: Path, sections: dict[str, float]) -> None:
    """The summary alone, as after a run whose folder was copied without its pairs."""
    folder.mkdir(parents=True)
    length = {"length_only_accuracy": 0.4, "shorter_only_accuracy": 0.6}
    figures = {"pairs": 447, "accuracy": 0.9, **length, "interval": [0.87, 0.93]}
    subsets = {"math-prm": figures}
    lacking = {"incomplete": {"Safety": ["donotanswer"]}} if "Safety" not in sections else {}
    write_json(
        folder / "summary.json",
        {"benchmark": "rewardbench", **figures, "subsets": subsets, "sections": sections, **lacking},
    )


def write_scored_rewardbench(folder: Path, pairs: list[PreferencePair], rewards: dict[str, float]) -> None:
    """As `hs2pref evaluate rewardbench` writes it."""
    write_evaluation(folder, pairs, rewards)
    summary = {"benchmark": "rewardbench", **evaluate_rewardbench(pairs, rewards).to_json()}
    write_json(folder / "summary.json", summary)


def write_rewardbench2(folder: Path, domains: dict[str, tuple[int, float, float]], **more: object) -> None:
    """The summary alone. domains: name -> prompts, score and what length scores; intervals are 10 points wide."""
    reports = {
        name: {
            "prompts": prompts,
            "score": score,
            "interval": None if name == "Ties" else [score - 0.05, score + 0.05],
            "length_only_score": length,
            "shorter_only_score": 0.0,
        }
        for name, (prompts, score, length) in domains.items()
    }
    prompts = sum(prompts for prompts, *_ in domains.values())
    length = {"length_only_accuracy": 0.4, "shorter_only_accuracy": 0.6}
    figures = {"prompts": prompts, "pairs": 3 * prompts, "accuracy": 0.5, **length}
    folder.mkdir(parents=True)
    summary = {"benchmark": "rewardbench2", **figures, "domains": reports, **more}
    write_json(folder / "summary.json", summary)


def write_training(folder: Path, data: Path, *overrides: str, steps: int = 6, saved: int | None = None) -> None:
    """config.yaml, metrics.jsonl and the manifest of checkpoints/last, of step `saved`."""
    places = [
        f"data.dir={data}",
        "pretrained_checkpoint.restore_from_path=base",
        f"exp_manager.explicit_log_dir={folder}",
    ]
    _, config = load_reward_model_config(["experiment=rm_stage2_scaled_bt", *places, *overrides])
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml")
    rows = [{"kind": "train", "step": n, "loss": 1 / n, "accuracy": 0.6} for n in range(1, steps + 1)]
    rows += [{"kind": "val", "step": steps, "val_pairs_loss": 0.3, "val_pairs_accuracy": 0.7}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = {"tool_version": "0.1.0", "step": saved or steps, "data": {"pairs.train.jsonl": "cd" * 32}}
    write_json(folder / "checkpoints" / "last" / "hs2pref.json", manifest)


def write_data(folder: Path, digest: str = "cd" * 32) -> None:
    """The manifest of a prepared folder."""
    output = {"rows": 6766, "sha256": digest, "dropped": {"tie": 12}}
    manifest = {"tool": "data prepare", "version": "0.1.0", "source": "hs2", "outputs": {"pairs.train.jsonl": output}}
    write_json(folder / "manifest.json", manifest)
