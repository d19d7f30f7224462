"""Adapter checkpoints: the base that they belong to, and how both become a whole checkpoint.

W + alpha / R * B A in float32, stored in the base's dtype. No model is built and no GPU is needed.
Shapes: L layers, R rank, I inputs and O outputs of a layer; W [L, O, I], A [L, R, I], B [L, O, R].
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.distributed import one_process_group
from nemo_hs2pref.checkpoint.plain_tensors import load_tensors, stored_tensors, write_tensors
from nemo_hs2pref.errors import CheckpointError

ADAPTER = ".adapter_layer."  # part of the name of every tensor of an adapter
PLACES = {  # the name of a layer in Megatron -> its adapter's in NeMo
    "self_attention.linear_qkv": "self_attention.adapter_layer.lora_kqv_adapter",
    "self_attention.linear_proj": "self_attention.adapter_layer.lora_dense_attention_adapter",
    "mlp.linear_fc1": "mlp.adapter_layer.lora_hto4h_adapter",
    "mlp.linear_fc2": "mlp.adapter_layer.lora_4htoh_adapter",
}
LAYERS = "model.decoder.layers."
HEAD = "model.rm_head."
OUTPUT_LAYER = "model.output_layer."  # of a language model; a reward model has none
SAMPLES, SAMPLE_BYTES = 16, 65536


def merge_lora(adapter: Path, out: Path, base: Path | None = None) -> int:
    """Write the whole checkpoint `out`, which must not exist; returns the number of layers' weights changed.

    base: where the base is now; None: where it was when the adapters were trained.
    Raises CheckpointError for another base than that, and for adapters that do not fit it.
    """
    if out.exists():
        raise CheckpointError(f"{out}: exists already; name a new folder or remove it")
    config, manifest = layout.read_adapter_config(adapter), layout.read_manifest(adapter)
    base = base or Path(manifest["base"]["path"])
    if not base.exists():
        raise CheckpointError(f"{base}: the base of {adapter} is not there; give its place with --base")
    layout.read_config(base)
    refuse_other_base(adapter, base)
    tuning = config.pop("peft")["lora_tuning"]
    learned = stored_tensors(adapter / layout.WEIGHTS)
    names = [name for name in stored_tensors(base / layout.WEIGHTS) if not name.startswith((HEAD, OUTPUT_LAYER))]
    merged = {"adapter": str(adapter), "base": str(base), "step": manifest["step"]}
    with layout.written_whole(out) as folder:
        tensors = load_tensors(adapter / layout.WEIGHTS, [name for name in learned if name.startswith(HEAD)])
        changed = 0
        for name in tqdm(names, desc="merging", unit=" tensors", disable=None):
            tensors |= load_tensors(base / layout.WEIGHTS, [name])
            inner, outer = adapter_names(name)
            if outer in learned:
                found = load_tensors(adapter / layout.WEIGHTS, [inner, outer])
                add_product(tensors[name], found[inner], found[outer], tuning["alpha"] / tuning["adapter_dim"])
                changed += 1
        layout.write_small_files(
            folder, config, {"tool_version": __version__, "merged": merged}, adapter / layout.TOKENIZER
        )
        with one_process_group():
            write_tensors(tensors, folder / layout.WEIGHTS, config["num_layers"])
    return changed


def adapter_names(name: str) -> tuple[str, str]:
    """The names of A and B for the weight `name`; empty where no adapter goes."""
    place = PLACES.get(name.removeprefix(LAYERS).removesuffix(".weight"))
    return (f"{LAYERS}{place}.linear_in.weight", f"{LAYERS}{place}.linear_out.weight") if place else ("", "")


def add_product(weight: Tensor, inner: Tensor, outer: Tensor, scale: float) -> None:
    """W += scale * B A in place, layer by layer in float32: a whole [L, O, I] in float32 is 26 GB at 70B.

    Megatron's fused layouts (queries, keys and values of a group together; gate before up) need no care: the rows
    of B are in the order of the rows of W.
    """
    for w, a, b in zip(weight, inner, outer, strict=True):
        w.copy_(w.float() + scale * (b.float() @ a.float()))


def base_of(path: Path) -> dict[str, Any]:
    """What an adapter checkpoint's manifest says of the base at `path`."""
    return {"path": str(path.resolve()), "fingerprint": fingerprint(path)}


def refuse_other_base(adapter: Path, base: Path) -> None:
    """Raise CheckpointError where `base` is not what the adapters were trained on."""
    recorded: Mapping[str, Any] = layout.read_manifest(adapter)["base"]
    if fingerprint(base) != recorded["fingerprint"]:
        raise CheckpointError(
            f"{base}: other weights than those that {adapter} was trained on; expected the unchanged files of "
            f"{recorded['path']}"
        )


def fingerprint(path: Path) -> str:
    """A hash of the weight files' names, sizes and 64 KiB at 16 places of each: under a second at 70B.

    It sees another model or another step of one, not every change of a single number.
    """
    seen = hashlib.sha256()
    for file in sorted((path / layout.WEIGHTS).glob("*.distcp")):
        size = file.stat().st_size
        seen.update(f"{file.name} {size}".encode())
        with file.open("rb") as stream:
            for i in range(SAMPLES):
                stream.seek(size * i // SAMPLES)
                seen.update(stream.read(SAMPLE_BYTES))
    return seen.hexdigest()
