"""ExPO (arXiv 2404.16792; HelpSteer2-Preference section 4): C = A + alpha (B - A) on backbone and head.

A is the weak model (regression), B the strong one trained from it (scaled Bradley-Terry); alpha 1 is B. The paper
takes 1.52. No model is built and no GPU is needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.distributed import one_process_group
from nemo_hs2pref.checkpoint.plain_tensors import load_tensors, stored_tensors, write_tensors
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.functional import extrapolate

SAME = ("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "num_query_groups", "vocab_size", "head")


def extrapolate_checkpoints(weak: Path, strong: Path, alpha: float, out: Path) -> int:
    """Write checkpoint `out`, which must not exist; returns the number of tensors.

    Raises CheckpointError naming the first setting or tensor in which the two differ.
    """
    if out.exists():
        raise CheckpointError(f"{out}: exists already; name a new folder or remove it")
    configs = layout.read_config(weak), layout.read_config(strong)
    refuse_other_settings(configs, (weak, strong))
    manifest = {
        "tool_version": __version__,
        "extrapolated": {"weak": str(weak), "strong": str(strong), "alpha": alpha},
    }
    names = refuse_other_tensors(weak, strong)
    with layout.written_whole(out) as folder:
        tensors = {}
        for name in tqdm(names, desc="extrapolating", unit=" tensors", disable=None):
            from_weak, from_strong = (load_tensors(path / layout.WEIGHTS, [name])[name] for path in (weak, strong))
            tensors[name] = extrapolate(from_weak, from_strong, alpha)
        layout.write_small_files(folder, configs[1], manifest, strong / layout.TOKENIZER)
        with one_process_group():
            write_tensors(tensors, folder / layout.WEIGHTS, configs[1]["num_layers"])
    return len(names)


def refuse_other_settings(configs: tuple[Mapping[str, Any], Mapping[str, Any]], paths: tuple[Path, Path]) -> None:
    """Equal shapes can still mean other things: another head order, another template."""
    for key in SAME:
        values = [config.get(key) for config in configs]
        if values[0] != values[1]:
            raise CheckpointError(
                f"{key} is {values[0]} in {paths[0]} and {values[1]} in {paths[1]}; they must be equal"
            )


def refuse_other_tensors(weak: Path, strong: Path) -> list[str]:
    """The tensors' names, in order; both checkpoints have the same."""
    shapes = [stored_tensors(path / layout.WEIGHTS) for path in (weak, strong)]
    for name in sorted(shapes[0].keys() | shapes[1].keys()):
        first, second = (stored.get(name) for stored in shapes)
        if first != second:
            told = [f"{found[1]} {list(found[0])}" if found else "nothing" for found in (first, second)]
            raise CheckpointError(
                f"tensor {name} differs: {told[0]} in {weak}, {told[1]} in {strong}; "
                "the strong model must have been trained from the weak one"
            )
    return sorted(shapes[0])
