"""`hs2pref convert`: checkpoints from and to Hugging Face; LoRA adapters into a whole model."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from nemo_hs2pref.checkpoint.hugging_face.layouts import ALL, LAYOUTS, REWARD
from nemo_hs2pref.cli.processes import say

FROM_HF_EXAMPLES = """examples:
  hs2pref convert from-hf meta-llama/Llama-3.1-70B-Instruct checkpoints/llama31_70b
  hs2pref convert from-hf ./SmolLM2-135M-Instruct checkpoints/smollm2 --dtype float32
  hs2pref convert from-hf smollm2 checkpoints/smollm2-8 --layers 8    # SmolLM2-135M-Instruct: hub or installed package
  hs2pref convert from-hf llama_tiny checkpoints/tiny                 # random weights, for tests of layouts
  hs2pref convert from-hf nvidia/Llama-3.1-Nemotron-70B-Reward-HF checkpoints/nemotron --layout nemotron-reward

DST becomes a folder laid out as an unpacked .nemo file; its weights load under any TP and PP.
One process without a GPU does it, tensor by tensor; only a .gguf file has to fit into memory.
"""
TO_HF_EXAMPLES = """examples:
  hs2pref convert to-hf runs/stage2/checkpoints/last reward-hf        # AutoModelForSequenceClassification
  hs2pref convert to-hf runs/all/checkpoints/last reward-hf --merge-attributes
  hs2pref convert to-hf expo reward-nemotron --layout nemotron-reward --dtype bfloat16

Its labels: the reward alone where it is one attribute, else every attribute.
DST becomes a folder that transformers loads: safetensors, tokenizer with the training template, model card.
One process without a GPU does it, tensor by tensor.
"""
MERGE_EXAMPLES = """examples:
  hs2pref convert merge-lora runs/lora/checkpoints/last checkpoints/merged
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the directions as verbs of their own, each with its arguments."""
    directions = parser.add_subparsers(metavar="DIRECTION", required=True)

    def direction(name: str, help: str, description: str, epilog: str) -> argparse.ArgumentParser:
        return directions.add_parser(
            name,
            help=help,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    from_hf = direction(
        "from-hf",
        "a Llama-shaped Hugging Face model to a NeMo checkpoint",
        "Convert a Llama-shaped Hugging Face model (Llama 2 and 3, SmolLM2), reward head included, to NeMo.",
        FROM_HF_EXAMPLES,
    )
    from_hf.add_argument("source", metavar="SRC", help="folder, hub id, .gguf file, smollm2, llama_tiny or qwen_tiny")
    from_hf.add_argument("--layers", type=int, metavar="N", help="keep the first N layers (default: all)")
    from_hf.set_defaults(run=run_from_hf)
    to_hf = direction(
        "to-hf",
        "a NeMo checkpoint to a Hugging Face folder",
        "Convert a checkpoint of ours, reward head included, to a folder that transformers loads.",
        TO_HF_EXAMPLES,
    )
    to_hf.add_argument("source", metavar="SRC", type=Path, help="checkpoint")
    to_hf.add_argument(
        "--drop-bias", action="store_true", help="leave out a head's bias; config.json and the card record it"
    )
    labels = to_hf.add_mutually_exclusive_group()
    labels.add_argument(
        "--merge-attributes",
        action="store_const",
        const=REWARD,
        dest="labels",
        help="write the reward as the only label also where it is a sum of attributes",
    )
    labels.add_argument(
        "--all-attributes",
        action="store_const",
        const=ALL,
        dest="labels",
        help="write every attribute as a label also where the reward is one of them",
    )
    to_hf.set_defaults(run=run_to_hf)
    for each in (from_hf, to_hf):
        each.add_argument("destination", metavar="DST", type=Path, help="folder to write; must not exist")
        each.add_argument(
            "--dtype", choices=["float32", "bfloat16"], help="dtype of the weights (default: the source's)"
        )
        each.add_argument(
            "--layout", choices=LAYOUTS, help="layout of Hugging Face's files (default: by what the source has)"
        )
    merge = direction(
        "merge-lora",
        "the adapters of a LoRA run into a whole checkpoint",
        "Merge the adapters of a LoRA run into their base and write a whole checkpoint.",
        MERGE_EXAMPLES,
    )
    merge.add_argument("adapter", metavar="ADAPTER", type=Path, help="checkpoint of a LoRA run")
    merge.add_argument("destination", metavar="DST", type=Path, help="folder to write; must not exist")
    merge.add_argument("--base", type=Path, help="the checkpoint that the run started from, if it was moved")
    merge.set_defaults(run=run_merge_lora)
    parser.epilog = FROM_HF_EXAMPLES


def run_from_hf(args: argparse.Namespace) -> int:
    """Convert, then say in one line what was written."""
    from nemo_hs2pref.checkpoint.hugging_face.from_hf import DTYPES, convert_from_hf  # heavy: torch, transformers

    dtype = DTYPES[args.dtype] if args.dtype else None
    with named_source(args.source) as source:
        written = convert_from_hf(source, args.destination, num_layers=args.layers, dtype=dtype, hf_layout=args.layout)
    print(
        f"{args.destination}: {written.num_layers} of {written.source_num_layers} layers, "
        f"{written.num_parameters / 1e6:.1f}M parameters, {written.dtype}"
    )
    return 0


def run_to_hf(args: argparse.Namespace) -> int:
    """Convert, then say what was written, and what a client would make of it that reads one number of several."""
    from nemo_hs2pref.checkpoint.hugging_face.card import formula  # heavy: torch, transformers
    from nemo_hs2pref.checkpoint.hugging_face.from_hf import DTYPES
    from nemo_hs2pref.checkpoint.hugging_face.to_hf import convert_to_hf

    dtype = DTYPES[args.dtype] if args.dtype else None
    written = convert_to_hf(
        args.source,
        args.destination,
        dtype=dtype,
        hf_layout=args.layout,
        drop_bias=args.drop_bias,
        labels=args.labels,
    )
    size, kind = f"{written.num_parameters / 1e6:.1f}M parameters", str(written.dtype).removeprefix("torch.")
    print(f"{args.destination}: {written.layout}, {size}, {kind}")
    if (head := written.head) is not None:
        left_out = f"; not written: {', '.join(written.left_out)}" if written.left_out else ""
        print(f"{args.destination}: labels {', '.join(head.attributes)}{left_out}")
        if (reward := formula(head)) != head.attributes[0]:
            say(
                "convert",
                f"warning: the reward is {reward}, and slot 0 is {head.attributes[0]}: RewardBench's scorer reads slot "
                "0 alone, and TRL and OpenRLHF take one label; --merge-attributes writes the reward as the only one",
            )
    return 0


def run_merge_lora(args: argparse.Namespace) -> int:
    """Merge, then say in one line what was written."""
    from nemo_hs2pref.checkpoint.merging.lora import merge_lora  # heavy: torch

    changed = merge_lora(args.adapter, args.destination, args.base)
    print(f"{args.destination}: adapters of {args.adapter} added to {changed} weights of every layer")
    return 0


@contextmanager
def named_source(name: str) -> Iterator[str | Path]:
    """The models for laptops have names of their own; everything else is a place."""
    if name == "smollm2":
        from nemo_hs2pref.checkpoint.small_models.smollm2 import smollm2_source

        yield smollm2_source()
    elif name in ("llama_tiny", "qwen_tiny"):
        from nemo_hs2pref.checkpoint.small_models.tiny import TINY  # heavy: torch

        with TemporaryDirectory() as folder:
            yield TINY[name](Path(folder))
    else:
        yield name
