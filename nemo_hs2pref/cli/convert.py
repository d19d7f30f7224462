"""`hs2pref convert`: Hugging Face checkpoints to NeMo, LoRA adapters to whole checkpoints."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

EXAMPLES = """examples:
  hs2pref convert from-hf meta-llama/Llama-3.1-70B-Instruct checkpoints/llama31-70b
  hs2pref convert from-hf ./SmolLM2-135M-Instruct checkpoints/smollm2 --dtype float32
  hs2pref convert from-hf smollm2 checkpoints/smollm2-8 --layers 8    # SmolLM2-135M-Instruct: hub or installed package
  hs2pref convert from-hf llama_tiny checkpoints/tiny                 # random weights, for tests of layouts

DST becomes a folder laid out as an unpacked .nemo file; its weights load under any TP and PP.
One process without GPU does it. Weights go from file to file, and only the attention projections through memory;
with another dtype than the source's, or from a .gguf file, the whole checkpoint has to fit.
"""


MERGE_EXAMPLES = """examples:
  hs2pref convert merge-lora runs/lora/checkpoints/last checkpoints/merged
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the directions as verbs of their own, each with its arguments."""
    directions = parser.add_subparsers(metavar="DIRECTION", required=True)
    from_hf = directions.add_parser(
        "from-hf",
        help="a Llama-shaped Hugging Face model to a NeMo checkpoint",
        description="Convert a Llama-shaped Hugging Face model (Llama 2 and 3, SmolLM2) to a NeMo checkpoint.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    from_hf.add_argument("source", metavar="SRC", help="folder, hub id, .gguf file, smollm2 or llama_tiny")
    from_hf.add_argument("destination", metavar="DST", type=Path, help="folder to write; must not exist")
    from_hf.add_argument("--layers", type=int, metavar="N", help="keep the first N layers (default: all)")
    from_hf.add_argument("--dtype", choices=["float32", "bfloat16"], help="of the weights (default: the source's)")
    from_hf.set_defaults(run=run_from_hf)
    merge = directions.add_parser(
        "merge-lora",
        help="the adapters of a LoRA run and their base to a whole checkpoint",
        description="Add the adapters of `train rm peft=lora` to their base: a whole checkpoint.",
        epilog=MERGE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    merge.add_argument("adapter", metavar="ADAPTER", type=Path, help="checkpoint of a LoRA run")
    merge.add_argument("destination", metavar="DST", type=Path, help="folder to write; must not exist")
    merge.add_argument("--base", type=Path, help="the checkpoint that the run started from, if it was moved")
    merge.set_defaults(run=run_merge_lora)
    parser.epilog = EXAMPLES + MERGE_EXAMPLES.removeprefix("examples:\n")


def run_from_hf(args: argparse.Namespace) -> int:
    """Convert, then say in one line what was written."""
    from nemo_hs2pref.checkpoint.from_hf import DTYPES, convert_from_hf  # heavy: torch, transformers

    dtype = DTYPES[args.dtype] if args.dtype else None
    with named_source(args.source) as source:
        written = convert_from_hf(source, args.destination, num_layers=args.layers, dtype=dtype)
    print(
        f"{args.destination}: {written.num_layers} of {written.source_num_layers} layers, "
        f"{written.num_parameters / 1e6:.1f}M parameters, {written.dtype}"
    )
    return 0


def run_merge_lora(args: argparse.Namespace) -> int:
    """Merge, then say in one line what was written."""
    from nemo_hs2pref.checkpoint.lora import merge_lora  # heavy: torch

    changed = merge_lora(args.adapter, args.destination, args.base)
    print(f"{args.destination}: adapters of {args.adapter} added to {changed} weights of every layer")
    return 0


@contextmanager
def named_source(name: str) -> Iterator[str | Path]:
    """The two models for laptops have names of their own; everything else is a place."""
    if name == "smollm2":
        from nemo_hs2pref.checkpoint.base_model import smollm2_source

        yield smollm2_source()
    elif name == "llama_tiny":
        from nemo_hs2pref.checkpoint.llama_tiny import write_llama_tiny

        with TemporaryDirectory() as folder:
            yield write_llama_tiny(Path(folder))
    else:
        yield name
