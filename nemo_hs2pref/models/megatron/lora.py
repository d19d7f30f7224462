"""LoRA (arXiv 2106.09685) with NeMo's adapters: W x + alpha / R * B A x, where W is frozen and A and B are trained.

Shapes: R rank (adapter_dim), I inputs and O outputs of the layer; A [R, I], B [O, R].
"""

import zlib
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.transformer.mlp import apply_swiglu_sharded_factory
from megatron.core.transformer.utils import sharded_state_dict_default
from nemo.collections.nlp.modules.common.megatron.adapters.mcore_mixins import swap_mcore_mixin
from nemo.collections.nlp.modules.common.megatron.adapters.parallel_adapters import AdapterName, ParallelLinearAdapter
from nemo.collections.nlp.parts.peft_config import LoraPEFTConfig
from torch import Tensor


def add_lora(model: Any) -> None:
    """Freeze all but model.trained_with_adapters; add the adapters of cfg.peft.lora_tuning, which change nothing at
    first (B = 0).

    model: a class of NeMo's with MegatronParts. Call before it is wrapped for data parallelism: what is frozen then
    gets no gradient buffer and no place in the optimizer. Not done by NeMo's NLPAdapterModelMixin, which freezes once
    more after that wrapping and then looks for a head under its old name. Checked with NeMo 2.2.1.
    """
    peft = LoraPEFTConfig(model.cfg)
    (module,) = model.get_model_module_list()
    module.requires_grad_(False)
    for name in model.trained_with_adapters:
        if (part := getattr(module, name)) is not None:  # on the last stage alone
            part.requires_grad_(True)
    if module.pre_process:
        module.embedding.register_forward_hook(track_gradients)
    for layer in module.decoder.layers:
        for name, config in peft.get_config_dict().items():
            ((place, mixin),) = peft.name_key_to_mcore_mixins[name]
            target = layer.get_submodule(place)
            swap_mcore_mixin(target, mixin)
            target.add_adapter(
                name=name.value,
                cfg=config,
                base_model_cfg=model.cfg,
                model_parallel_config=model.model_parallel_config,
            )
            target.adapter_layer.__class__ = AdapterLayers
            words = f"{model.cfg.seed} {layer.layer_number} {name.value}"
            initialise(target.adapter_layer[name.value], seed=zlib.crc32(words.encode()))


def track_gradients(module: torch.nn.Module, args: object, output: Tensor) -> None:
    """Megatron's recomputation drops the gradients of a block whose input has none, as after a frozen embedding."""
    output.requires_grad_()


@torch.no_grad()
def initialise(adapter: ParallelLinearAdapter, seed: int) -> None:
    """A normal with Xavier's variance 2 / (R + I), B zero; the same whole A in every layout.

    NeMo draws each rank's part of A separately, with a variance that depends on the size of the part.
    """
    local = adapter.linear_in.weight
    ranks = parallel_state.get_tensor_model_parallel_world_size()
    shape = [size * ranks if dim == local.partition_dim else size for dim, size in enumerate(local.shape)]
    whole = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * (2 / sum(shape)) ** 0.5
    local.copy_(whole.chunk(ranks, local.partition_dim)[parallel_state.get_tensor_model_parallel_rank()])
    adapter.linear_out.weight.zero_()


class AdapterLayers(torch.nn.ModuleDict):
    """NeMo's dictionary of a layer's adapters, which can be stored as whole tensors.

    Megatron asks each child for its sharded state, which a plain ModuleDict cannot give.
    """

    def sharded_state_dict(
        self, prefix: str = "", sharded_offsets: tuple[Any, ...] = (), metadata: Any = None
    ) -> dict[str, Any]:
        state: dict[str, Any] = {}
        for name, adapter in self.items():
            state |= sharded_state_dict_default(adapter, f"{prefix}{name}.", sharded_offsets, metadata)
        # each rank holds its own rows of both gate and up, as the layer itself does
        gate_and_up = f"{prefix}{AdapterName.LORA_Hto4H_ADAPTER.value}.linear_out.weight"
        if gate_and_up in state:
            state[gate_and_up] = apply_swiglu_sharded_factory(state[gate_and_up], sharded_offsets)
        return state
