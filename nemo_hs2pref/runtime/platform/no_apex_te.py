"""Layer 1: a machine without Apex and Transformer Engine.

NeMo 2.2 runs on Megatron-Core's own ("local") layers there, but it uses names that only Apex or
Transformer Engine define. Each function below is one patch; its docstring gives the reason.
"""

import importlib
import importlib.metadata
import os
import sys
import types

import torch
from packaging.version import Version
from torch import Tensor

from nemo_hs2pref.runtime.platform.adamw import AdamW
from nemo_hs2pref.runtime.platform.sdpa_attention import SdpaAttention


def before_nemo() -> None:
    """What must be in place before NeMo is imported."""
    give_pytorch_version()
    place_transformer_engine_module()


def after_nemo() -> None:
    """What changes in NeMo and Megatron-Core after they are imported."""
    give_strategy_its_names()
    use_local_layers()
    use_sdpa_attention()
    use_sequence_parallel_norms()
    give_apex_helpers()
    split_adapter_outputs_with_torch()
    let_adapters_gather_the_sequence()
    use_adamw_with_group_step()


def give_pytorch_version() -> None:
    """NeMo matches NVIDIA's container variable with a regular expression, and fails on None outside of it."""
    os.environ.setdefault("NVIDIA_PYTORCH_VERSION", "25.01")


class NeedsTransformerEngine(torch.nn.Module):
    """Stands in for a Transformer Engine layer in imports; it cannot be built."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise RuntimeError(f"{type(self).__name__} needs Transformer Engine, which is not installed")


def place_transformer_engine_module() -> None:
    """NeMo imports layer classes from mcore's Transformer Engine extension, which cannot be imported without TE.

    Megatron-Core's own modules come first, so that they see that TE is missing and use their local layers; then a
    module, every name of which is a class that raises when built, lets NeMo's imports succeed.
    """
    for name in (
        "dist_checkpointing",
        "extensions",
        "models.bert",
        "models.gpt.gpt_layer_specs",
        "models.T5",
        "transformer.transformer_block",
    ):
        importlib.import_module(f"megatron.core.{name}")
    import megatron.core.utils

    class Placeholder(types.ModuleType):
        def __getattr__(self, name: str) -> type:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (NeedsTransformerEngine,), {})

    name = "megatron.core.extensions.transformer_engine"
    sys.modules.setdefault(name, Placeholder(name))
    # is_te_min_version() would import TE to learn its version
    megatron.core.utils._te_version = Version("0.0.0")


def give_strategy_its_names() -> None:
    """NLPDDPStrategy refuses without Apex, and its optimizer names are undefined: one try block imports all."""
    from nemo.collections.nlp.parts import nlp_overrides
    from nemo.core.optim.mcore_optim import McoreDistributedOptimizer

    class MegatronDistributedFusedAdam:
        """For isinstance only: Apex's distributed optimizer, which cannot exist here."""

    nlp_overrides.HAVE_APEX = True
    nlp_overrides.McoreDistributedOptimizer = McoreDistributedOptimizer
    nlp_overrides.MegatronDistributedFusedAdam = MegatronDistributedFusedAdam


def use_local_layers() -> None:
    """NeMo's get_specs builds every layer spec it knows, Transformer Engine's too, before it picks one.

    The local spec has the same checkpoint keys as TE's.
    """
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from nemo.collections.nlp.models.language_modeling import megatron_gpt_model

    megatron_gpt_model.get_specs = lambda *args, **kwargs: get_gpt_layer_local_spec(None, False)


class SequenceParallelNorm(torch.nn.RMSNorm):
    """RMSNorm with a weight marked as one whose gradient must be summed over the tensor-parallel ranks.

    Under sequence parallelism each rank normalises its own slice of the sequence. Megatron-Core sums the
    gradients of parameters that carry `sequence_parallel`; its own WrappedTorchNorm refuses instead.
    """

    def __init__(self, config: object, hidden_size: int, eps: float = 1e-5, **_: object) -> None:
        if config.normalization != "RMSNorm":  # pyright: ignore[reportAttributeAccessIssue] mcore's config
            raise ValueError(f"only RMSNorm is offered without Transformer Engine, not {config.normalization}")  # pyright: ignore
        super().__init__(hidden_size, eps=eps)
        self.weight.sequence_parallel = config.sequence_parallel  # pyright: ignore

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).to(x.dtype)


def use_sdpa_attention() -> None:
    """Megatron-Core's own attention stores S x S scores for every head and layer; TE's fused kernel is not there."""
    from megatron.core.models.gpt import gpt_layer_specs

    gpt_layer_specs.DotProductAttention = SdpaAttention


def use_sequence_parallel_norms() -> None:
    """Local layer specs name WrappedTorchNorm, which asserts that sequence parallelism is off."""
    from megatron.core.models.gpt import gpt_layer_specs
    from megatron.core.transformer import transformer_block

    gpt_layer_specs.LNImpl = SequenceParallelNorm
    transformer_block.LayerNormImpl = SequenceParallelNorm


def give_apex_helpers() -> None:
    """NeMo imports these from Apex inside a try block and then uses them unconditionally.

    The norm classes decide by isinstance which weights get no decay.
    """
    from megatron.core.tensor_parallel.layers import set_defaults_if_not_set_tensor_model_parallel_attributes
    from nemo.collections.nlp.modules.common.megatron import build_model, utils

    build_model.set_defaults_if_not_set_tensor_model_parallel_attributes = (
        set_defaults_if_not_set_tensor_model_parallel_attributes
    )
    utils.listify_model = lambda model: model if isinstance(model, list) else [model]
    utils.MixedFusedRMSNorm = torch.nn.RMSNorm
    utils.FusedLayerNorm = torch.nn.LayerNorm
    utils.FastLayerNorm = torch.nn.LayerNorm


def split_adapter_outputs_with_torch() -> None:
    """NeMo's attention with adapters takes the placeholder's SplitAlongDim for TE's; None makes it use torch.split."""
    from nemo.collections.nlp.modules.common.megatron.adapters import mcore_mixins

    mcore_mixins.SplitAlongDim = None


def let_adapters_gather_the_sequence() -> None:
    """Under sequence parallelism NeMo's adapters ask for TE's version: its layers gather the norm's output for them.

    Megatron-Core's local layers do not; version 0 makes the adapters gather it themselves.
    """
    installed = importlib.metadata.version
    importlib.metadata.version = lambda distribution_name: (
        "0.0.0" if distribution_name == "transformer-engine" else installed(distribution_name)
    )


def use_adamw_with_group_step() -> None:
    """Megatron-Core falls back to torch's AdamW, whose state its distributed optimizer cannot save: see AdamW.

    HAVE_APEX_OR_TE there means nothing but "the step is in the parameter group".
    """
    import megatron.core.optimizer
    from megatron.core.optimizer import distrib_optimizer

    megatron.core.optimizer.Adam = AdamW
    distrib_optimizer.Adam = AdamW
    distrib_optimizer.HAVE_APEX_OR_TE = True
