"""Small sound files of every kind that a command reads; each function writes them into the folder that it is given."""

import json
import shutil
import tarfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

from mutations import BYTES

from nemo_hs2pref.cli import main
from nemo_hs2pref.data.records import write_jsonl

SMALL = {
    "vocab_size": 272, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 512,
}  # fmt: skip
MESSAGES = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]


# --- checkpoints ---


def hugging_face(folder: Path) -> None:
    from families import FIGURES, save_reward_model  # heavy: torch, transformers

    save_reward_model(folder, "llama31", hs2pref={"standardization": FIGURES}, **SMALL)


def model_and_rows(folder: Path) -> None:
    hugging_face(folder / "model")
    write_jsonl(folder / "rows.jsonl", [{"id": name, "messages": MESSAGES} for name in "ab"])


def nemo(folder: Path) -> None:
    from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf  # heavy

    source = folder.with_name(folder.name + "-hf")
    hugging_face(source)
    folder.rmdir()
    convert_from_hf(source, folder)
    shutil.rmtree(source)


def aligner(folder: Path) -> None:
    """As NeMo-Aligner unpacks: another target, and no manifest of ours."""
    from omegaconf import OmegaConf

    nemo(folder)
    config = OmegaConf.load(folder / "model_config.yaml")
    target = "nemo_aligner.models.nlp.gpt.megatron_gpt_regression_reward_model.MegatronGPTRegressionRewardModel"
    changes = {"target": target, "nemo_version": "2.2.1", "precision": "bf16-mixed", "reward_model_type": "regression"}
    del config.head.bias  # Aligner has no such key
    OmegaConf.save(OmegaConf.merge(config, changes), folder / "model_config.yaml")
    (folder / "hs2pref.json").unlink()
    (folder / "hs2pref.files.json").unlink()


def nemo2(folder: Path) -> None:
    """A language model, as NeMo 2 lays it out."""
    from nemo2_files import write_context
    from small_llama import save_llama
    from torch_dist_files import read_tensors, write_tensors

    from nemo_hs2pref.checkpoint import opening
    from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf

    base = folder.with_name(folder.name + "-nemo")
    convert_from_hf(save_llama(base.with_name(base.name + "-hf"), tokens=30, **SMALL), base)
    config = opening.read_config(base)
    write_context(
        folder, {"kv_channels": 4, "init_method_std": 0.01, "old_context_len": 64} | config, base / "tokenizer"
    )
    tensors = read_tensors(base / "model_weights").items()
    renamed = {name.replace("model.", "module.", 1): tensor for name, tensor in tensors}
    write_tensors(renamed, folder / "weights", SMALL["num_hidden_layers"])


def as_archive(folder: Path, chance: Random) -> None:
    """The folder as NeMo packs it, here and there damaged once more: in a block of the tar, or a member's size."""
    archive = folder / "model.nemo"
    members = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    with tarfile.open(archive, "w:") as tar:
        for path in members:
            tar.add(path, arcname=f"./{path.relative_to(folder)}")
    data = bytearray(archive.read_bytes())
    act = chance.randrange(4)
    if act == 0:
        archive.write_bytes(chance.choice(BYTES)(bytes(data), chance))
    elif act == 1:  # another size in the header of the first member, with the sum that belongs to it
        size = chance.choice(
            (b"77777777777\0", b"\x80" + b"\xff" * 11, b"\x80" + (1 << 62).to_bytes(11, "big"), b"00000000000\0")
        )
        data[124:136] = size
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])
        archive.write_bytes(bytes(data))


# --- runs and evaluations ---


def run_folder(folder: Path) -> None:
    import torch
    from report_runs import by_quality, rewarded, some_pairs, write_evaluation, write_rewardbench2, write_training

    from nemo_hs2pref.run_state import Failure, RunState, write

    del torch
    write_training(folder, folder / "data")
    pairs = some_pairs(12)
    write_evaluation(folder / "evaluation", pairs, rewarded(pairs, by_quality))
    write_rewardbench2(folder / "benchmark", {name: (30, 0.7, 0.4) for name in ("Factuality", "Math", "Ties")})
    state = RunState(
        "training",
        4,
        10,
        "2026-01-01T00:00:00.000+00:00",
        "2026-01-01T00:10:00.000+00:00",
        checkpoint="checkpoints/last",
    )
    write(folder / "run_state.json", state)
    write(folder / "failure.json", Failure(1, "a message", 1, "2026-01-01T00:10:00.000+00:00"))
    rows = [{"kind": "train", "step": step, "step_s": 2.0, "loss": 0.5} for step in range(1, 5)]
    write_jsonl(folder / "metrics.jsonl", rows)
    (folder / "logs" / "7").mkdir(parents=True)
    (folder / "logs" / "7" / "driver.log").write_text("T 0:00:01 phase: train\nT 0:10:00 ended: failed, exit code 1\n")
    (folder / "checkpoints" / "last" / "training_state").mkdir()
    (folder / "checkpoints" / "last" / "training_state" / "metadata.json").write_text("{}")


def scored(folder: Path) -> None:
    pairs = [
        {
            "id": f"p{n}",
            "prompt": "Why?",
            "chosen": f"Because {n}.",
            "rejected": "No.",
            "strength": 1 + n % 3,
            "subset": "a",
        }
        for n in range(4)
    ]
    write_jsonl(folder / "pairs.jsonl", pairs)
    sides = [(f"p{n}:{side}", n / 2 + (side == "chosen")) for n in range(4) for side in ("chosen", "rejected")]
    scores = [{"id": name, "reward": reward, "attributes": {"helpfulness": reward}} for name, reward in sides]
    write_jsonl(folder / "scores.jsonl", scores)


def evaluated(folder: Path) -> None:
    scored(folder)
    words = ["--input", folder / "pairs.jsonl", "--scores", folder / "scores.jsonl", "--out", folder / "before"]
    with redirect_stdout(StringIO()):
        assert main(["evaluate", "preferences", *map(str, words)]) == 0


def benchmark(folder: Path) -> None:
    names = {"Chat": "alpacaeval-easy", "Safety": "donotanswer", "Reasoning": "math-prm"}
    rows = [
        {
            "prompt": "Why?",
            "chosen": "yes",
            "chosen_model": "m",
            "rejected": "no",
            "rejected_model": "n",
            "subset": name,
            "id": n,
        }
        for n, name in enumerate(names.values())
    ]
    write_jsonl(folder / "rewardbench.jsonl", rows)
    sides = [f"{row['id']}:{side}" for row in rows for side in ("chosen", "rejected")]
    write_jsonl(folder / "scores.jsonl", [{"id": name, "reward": 1.0} for name in sides])


# --- data ---

RATED = {"helpfulness": 3, "correctness": 4, "coherence": 4, "complexity": 2, "verbosity": 1}


def helpsteer2(folder: Path) -> None:
    sample = Path(__file__).parents[2] / "nemo_hs2pref" / "data" / "sample"
    for name in ("train.jsonl", "validation.jsonl", "preference/preference.jsonl"):
        (folder / name).parent.mkdir(exist_ok=True)
        lines = (sample / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:6]))


def helpsteer(folder: Path) -> None:
    rows = [{"prompt": f"Why {n // 2}?", "response": f"Because {n}.", **RATED} for n in range(4)]
    for split in ("train", "validation"):
        write_jsonl(folder / f"{split}.jsonl", rows)


def hh_rlhf(folder: Path) -> None:
    opening = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Recipes?\n\nAssistant:"
    rows = [{"chosen": f"{opening} Try {dish}.", "rejected": f"{opening} No."} for dish in ("dal", "rice", "soup")]
    for split in ("train", "test"):
        write_jsonl(folder / "helpful-base" / f"{split}.jsonl", rows)


def oasst(folder: Path) -> None:
    def message(name: str, role: str, *replies: Any, labels: Any = None) -> dict[str, Any]:
        node = {
            "message_id": name,
            "parent_id": None,
            "text": f"text {name}",
            "role": role,
            "lang": "en",
            "deleted": False,
        }
        return {**node, "rank": None, "labels": labels, "replies": list(replies)}

    labels = {"quality": {"value": 0.75, "count": 3}, "helpfulness": {"value": 1.0, "count": 3}}
    trees = [
        {
            "message_tree_id": f"q{n}",
            "tree_state": "ready_for_export",
            "prompt": message(f"q{n}", "prompter", message(f"a{n}", "assistant", labels=labels)),
        }
        for n in range(3)
    ]
    write_jsonl(folder / "2023-04-12_oasst_all.trees.jsonl", trees)


def annotations(folder: Path) -> None:
    people = [{"ratings_1": RATED, "ratings_2": RATED, "preference": 1, "justification": "@Response 2 is fine."}] * 3
    rows = [
        {"id": f"t{n}", "prompt": "Why?", "response_1": "A", "response_2": f"B{n}", "annotations": people}
        for n in range(3)
    ]
    write_jsonl(folder / "tasks.jsonl", rows)


def pairs(folder: Path) -> None:
    scored(folder)
    (folder / "scores.jsonl").unlink()


def aligner_rows(folder: Path) -> None:
    text = "<extra_id_0>System\nA chat.\n<extra_id_1>User\nWhy?\n<extra_id_1>Assistant\n{}\n<extra_id_2>"
    write_jsonl(folder / "rows.jsonl", [{"text": text.format(f"Because {n}."), "label": [4.0] * 9} for n in range(4)])


def chat_template(folder: Path) -> None:
    from chat_tokenizers import llama3, saved

    saved(llama3(), folder / "tokenizer")
    (folder / "data").mkdir()
    pairs(folder / "data")


def base_and_data(folder: Path) -> None:
    """What `plan` and `train` read besides the configuration: a base, and the manifest of prepared data."""
    (folder / "base").mkdir()
    nemo(folder / "base")
    output = {"rows": 6766, "sha256": "cd" * 32, "dropped": {"tie": 12}}
    manifest = {"tool": "data prepare", "version": "0.1.0", "source": "hs2", "outputs": {"pairs.train.jsonl": output}}
    (folder / "data").mkdir()
    (folder / "data" / "manifest.json").write_text(json.dumps(manifest))
