"""LoRA adapters and the base that they belong to, as one whole checkpoint.

W + alpha / R * B A in float32, stored in the base's dtype. No model is built and no GPU is needed.
Shapes: L layers, R rank, I inputs and O outputs of a layer; W [L, O, I], A [L, R, I], B [L, O, R].
"""

from pathlib import Path

from torch import Tensor

from nemo_hs2pref import __version__
from nemo_hs2pref.checkpoint import layout, opening
from nemo_hs2pref.checkpoint.adapters import refuse_other_base
from nemo_hs2pref.checkpoint.reward_head import HEAD
from nemo_hs2pref.checkpoint.torch_dist.pieces import LAYER, pieces_of
from nemo_hs2pref.checkpoint.torch_dist.reading import StoredTensors
from nemo_hs2pref.checkpoint.torch_dist.writing import write_distributed
from nemo_hs2pref.errors import CheckpointError

PLACES = {  # the name of a layer in Megatron -> its adapter's in NeMo
    "self_attention.linear_qkv": "self_attention.adapter_layer.lora_kqv_adapter",
    "self_attention.linear_proj": "self_attention.adapter_layer.lora_dense_attention_adapter",
    "mlp.linear_fc1": "mlp.adapter_layer.lora_hto4h_adapter",
    "mlp.linear_fc2": "mlp.adapter_layer.lora_4htoh_adapter",
}
OUTPUT_LAYER = "model.output_layer."  # of a language model; a reward model has none


def merge_lora(adapter: Path, out: Path, base: Path | None = None) -> int:
    """Write the whole checkpoint `out`, which must not exist; returns the number of layers' weights changed.

    base: where the base is now; None: where it was when the adapters were trained.
    Raises CheckpointError for another base than that, and for adapters that do not fit it.
    """
    layout.refuse_existing(out)
    config, manifest = opening.read_adapter_config(adapter), opening.read_manifest(adapter)
    base = base or Path(manifest["base"]["path"])
    if not base.exists():
        raise CheckpointError(f"{base}: the base of {adapter} is not there; give its place with --base")
    opening.read_config(base)
    refuse_other_base(adapter, base)
    tuning = config.pop("peft")["lora_tuning"]
    learned, frozen = StoredTensors(adapter / layout.WEIGHTS), StoredTensors(opening.opened(base) / layout.WEIGHTS)
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
