"""Adapter checkpoints: the base that they belong to, and how both become a whole checkpoint.

W + alpha / R * B A in float32, stored in the base's dtype. No model is built and no GPU is needed.
Shapes: L layers, R rank, I inputs and O outputs of a layer; W [L, O, I], A [L, R, I], B [L, O, R].
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.checkpoint.distributed import LAYER, pieces_of, write_distributed
from nemo_hs2pref.checkpoint.plain_tensors import StoredTensors
from nemo_hs2pref.errors import CheckpointError

ADAPTER = ".adapter_layer."  # part of the name of every tensor of an adapter
PLACES = {  # the name of a layer in Megatron -> its adapter's in NeMo
    "self_attention.linear_qkv": "self_attention.adapter_layer.lora_kqv_adapter",
    "self_attention.linear_proj": "self_attention.adapter_layer.lora_dense_attention_adapter",
    "mlp.linear_fc1": "mlp.adapter_layer.lora_hto4h_adapter",
    "mlp.linear_fc2": "mlp.adapter_layer.lora_4htoh_adapter",
}
HEAD = "model.rm_head."
OUTPUT_LAYER = "model.output_layer."  # of a language model; a reward model has none
SAMPLES, SAMPLE_BYTES = 16, 65536


def merge_lora(adapter: Path, out: Path, base: Path | None = None) -> int:
    """Write the whole checkpoint `out`, which must not exist; returns the number of layers' weights changed.

    base: where the base is now; None: where it was when the adapters were trained.
    Raises CheckpointError for another base than that, and for adapters that do not fit it.
    """
    layout.refuse_existing(out)
    config, manifest = layout.read_adapter_config(adapter), layout.read_manifest(adapter)
    base = base or Path(manifest["base"]["path"])
    if not base.exists():
        raise CheckpointError(f"{base}: the base of {adapter} is not there; give its place with --base")
    layout.read_config(base)
    refuse_other_base(adapter, base)
    tuning = config.pop("peft")["lora_tuning"]
    learned, frozen = StoredTensors(adapter / layout.WEIGHTS), StoredTensors(layout.opened(base) / layout.WEIGHTS)
    head = {name: entry for name, entry in learned.entries.items() if name.startswith(HEAD)}
    body = {name: entry for name, entry in frozen.entries.items() if not name.startswith((HEAD, OUTPUT_LAYER))}

    def merged(name: str, layer: int | None) -> Tensor:
        inner, outer = adapter_names(name)
        if name in head or outer not in learned.entries:
            return (learned if name in head else frozen).read(name, layer=layer)
        a, b = (learned.read(adapter_name, layer=layer) for adapter_name in (inner, outer))
        return sum_with_product(frozen.read(name, layer=layer), a, b, tuning["alpha"] / tuning["adapter_dim"])

    pieces = list(pieces_of(head | body, merged))
    layout.refuse_full_disk(out, sum(piece.bytes for piece in pieces))
    about = {"adapter": str(adapter), "base": str(base), "step": manifest["step"]}
    with layout.written_whole(out) as folder:
        layout.write_small_files(
            folder, config, {"tool_version": __version__, "merged": about}, adapter / layout.TOKENIZER
        )
        write_distributed(pieces, folder / layout.WEIGHTS, config["num_layers"])
    return sum(adapter_names(name)[1] in learned.entries for name in body)


def adapter_names(name: str) -> tuple[str, str]:
    """The names of A and B for the weight `name`; empty where no adapter goes."""
    place = PLACES.get(name.removeprefix(LAYER).removesuffix(".weight"))
    return (f"{LAYER}{place}.linear_in.weight", f"{LAYER}{place}.linear_out.weight") if place else ("", "")


def sum_with_product(weight: Tensor, inner: Tensor, outer: Tensor, scale: float) -> Tensor:
    """W + scale * B A of one layer in float32, in W's dtype.

    Megatron's fused layouts (queries, keys and values of a group together; gate before up) need no care: the rows
    of B are in the order of the rows of W.
    """
    return (weight.float() + scale * (outer.float() @ inner.float())).to(weight.dtype)


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
    for file in sorted((layout.opened(path) / layout.WEIGHTS).glob("*.distcp")):
        size = file.stat().st_size
        seen.update(f"{file.name} {size}".encode())
        with file.open("rb") as stream:
            for i in range(SAMPLES):
                stream.seek(size * i // SAMPLES)
                seen.update(stream.read(SAMPLE_BYTES))
    return seen.hexdigest()
