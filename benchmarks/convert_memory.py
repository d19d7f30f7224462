"""Peak memory and time of `hs2pref convert`, both ways, on a random Llama that is larger than a few of its tensors.

usage: python benchmarks/convert_memory.py FOLDER [--layers 28] [--keep]

FOLDER is made, and needs three times the checkpoint on its disk: the random one, the NeMo one, and the one back. With
28 layers of Llama-3.2-1B's shape and untied embeddings that is 4.4 GB each in bfloat16. Every step is a process of its
own; its peak is the kernel's (getrusage), pages of mapped files included. The round trip must give the same bytes.
"""

import argparse
import filecmp
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GB = 1e9
SHAPE = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "architectures": ["LlamaForCausalLM"],
}


def main() -> None:
    args = parse()
    if args.step:
        print(json.dumps(run_step(args.step, args.folder, args.layers)))
        return
    args.folder.mkdir(parents=True)
    try:
        print(table([measured(step, args) for step in ("generate", "imports", "from-hf", "to-hf")]))
        refuse_other_bytes(args.folder / "hf", args.folder / "back")
        print("the files that came back are the files that went in, byte for byte")
    finally:
        if not args.keep:
            shutil.rmtree(args.folder)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to make, and to remove at the end")
    parser.add_argument("--layers", type=int, default=28, help="transformer layers, 122 MB each")
    parser.add_argument("--keep", action="store_true", help="leave the checkpoints")
    parser.add_argument("--step", help=argparse.SUPPRESS)  # what a child process does
    return parser.parse_args()


def measured(step: str, args: argparse.Namespace) -> dict[str, Any]:
    """What a process of its own says after `step`."""
    words = [sys.executable, __file__, str(args.folder), "--layers", str(args.layers), "--step", step]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_step(step: str, folder: Path, layers: int) -> dict[str, Any]:
    from nemo_hs2pref.checkpoint.hugging_face.from_hf import convert_from_hf
    from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf

    start = time.perf_counter()
    if step == "generate":
        generate(folder / "hf", layers)
    elif step == "from-hf":
        convert_from_hf(folder / "hf", folder / "nemo")
    elif step == "to-hf":
        convert_to_hf(folder / "nemo", folder / "back")
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    entries = shapes(layers)
    return {
        "step": step,
        "seconds": seconds,
        "peak": peak,
        "checkpoint": sum(entry.bytes for entry in entries.values()),
        "largest": max(entry.bytes for entry in entries.values()),
    }


def shapes(layers: int) -> dict[str, Any]:
    import torch
    from transformers import LlamaConfig

    from nemo_hs2pref.checkpoint.families.architecture import body_shapes, lm_head_shapes
    from nemo_hs2pref.checkpoint.safetensors.shards import Entry

    config = LlamaConfig(**SHAPE, num_hidden_layers=layers)
    both = body_shapes(config, layers) | lm_head_shapes(config)  # the order in which to-hf writes
    return {name: Entry(shape, torch.bfloat16) for name, shape in both.items()}


def generate(folder: Path, layers: int) -> None:
    """A Hugging Face folder of random numbers, with llama_tiny's tokenizer."""
    import torch
    from transformers import LlamaConfig

    from nemo_hs2pref.checkpoint.safetensors.shards import write_shards
    from nemo_hs2pref.checkpoint.small_models.tiny import write_llama_tiny

    write_llama_tiny(folder)
    (folder / "model.safetensors").unlink()
    LlamaConfig(**SHAPE, num_hidden_layers=layers, torch_dtype=torch.bfloat16).save_pretrained(folder)
    entries = shapes(layers)

    def tensors() -> Iterator[tuple[str, Any]]:
        for name, entry in entries.items():
            yield name, torch.empty(entry.shape, dtype=entry.dtype).normal_()

    write_shards(entries, tensors(), folder)


def table(rows: list[dict[str, Any]]) -> str:
    """imports: what a process needs before it converts anything."""
    lines = [
        f"checkpoint {rows[0]['checkpoint'] / GB:.2f} GB, largest tensor {rows[0]['largest'] / GB:.2f} GB",
        "| step | s | peak RSS, GB | over checkpoint | largest tensors beyond imports |",
        "|---|---|---|---|---|",
    ]
    imports = next(row["peak"] for row in rows if row["step"] == "imports")
    for row in rows:
        over, beyond = row["peak"] / row["checkpoint"], (row["peak"] - imports) / row["largest"]
        lines.append(f"| {row['step']} | {row['seconds']:.1f} | {row['peak'] / GB:.2f} | {over:.2f} | {beyond:.1f} |")
    return "\n".join(lines)


def refuse_other_bytes(first: Path, second: Path) -> None:
    files = [path.name for path in sorted(first.glob("model*"))]
    _, other, missing = filecmp.cmpfiles(first, second, files, shallow=False)
    if other or missing:
        raise SystemExit(f"{second}: {', '.join(other + missing)} came back changed")


if __name__ == "__main__":
    main()
