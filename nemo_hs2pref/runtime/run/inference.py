"""A language model for forward passes alone, from its architecture, a layout and a precision."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_aligner.utils.train_script_utils import init_distributed
from omegaconf import OmegaConf

from nemo_hs2pref.checkpoint.layout import TOKENIZER
from nemo_hs2pref.checkpoint.megatron.weights import fill
from nemo_hs2pref.checkpoint.opening import opened
from nemo_hs2pref.config.architecture import embedding_rows
from nemo_hs2pref.models.policy.megatron_policy import MegatronPolicy
from nemo_hs2pref.runtime.platform import machine
from nemo_hs2pref.runtime.run.build import TrainerBuilder
from nemo_hs2pref.runtime.run.nemo_config import kernels


@dataclass(frozen=True)
class Layout:
    """How one copy of a model is spread over ranks."""

    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    sequence_parallel: bool = False


def load_policy(path: Path, checkpoint: Mapping[str, Any], layout: Layout, precision: str) -> MegatronPolicy:
    """The language model of the checkpoint at `path`, with its weights, in evaluation mode.

    checkpoint: its model_config.yaml. precision: `32` or `bf16`. Call `machine.prepare()` first; every rank calls it.
    """
    world = int(os.environ.get("WORLD_SIZE", 1))
    cfg = OmegaConf.create(
        {
            "trainer": {
                "num_nodes": 1,  # ranks come from the environment, see TrainerBuilder
                "devices": world,
                "accelerator": "gpu" if machine.has_cuda() else "cpu",
                "precision": {"bf16": "bf16", "32": "32-true"}[precision],
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "use_distributed_sampler": False,
            },
            "model": model_section(path, checkpoint, layout, precision, world),
            "exp_manager": {"log_tflops_per_sec_per_gpu": False},
        }
    )
    trainer = TrainerBuilder(cfg).create_trainer()
    model = MegatronPolicy(cfg.model, trainer)  # pyright: ignore[reportCallIssue] NeMo's constructor
    init_distributed(trainer, model, use_te=cfg.model.transformer_engine)
    model = model.cuda() if machine.has_cuda() else model
    fill(model, path, dict(model.sharded_state_dict()))
    model.eval()
    return model  # pyright: ignore[reportReturnType] Lightning's Self


def model_section(
    path: Path, checkpoint: Mapping[str, Any], layout: Layout, precision: str, world: int
) -> dict[str, Any]:
    """NeMo's `model` section."""
    architecture = {key: value for key, value in checkpoint.items() if key not in ("target", "nemo_version", "head")}
    return {
        **architecture,
        "mcore_gpt": True,
        "name": "",
        "precision": precision,
        "megatron_amp_O2": precision == "bf16",
        "micro_batch_size": 1,
        "global_batch_size": max(world // (layout.tensor_parallel * layout.pipeline_parallel), 1),
        "tensor_model_parallel_size": layout.tensor_parallel,
        "pipeline_model_parallel_size": layout.pipeline_parallel,
        "virtual_pipeline_model_parallel_size": None,
        "sequence_parallel": layout.sequence_parallel and layout.tensor_parallel > 1,
        "override_vocab_size": embedding_rows(checkpoint),
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activations_checkpoint_granularity": None,
        "activations_checkpoint_method": None,
        "activations_checkpoint_num_layers": None,
        "gradient_as_bucket_view": True,
        "data": {},
        "tokenizer": {"library": "huggingface", "type": str(opened(path) / TOKENIZER), "use_fast": True},
        "optim": {"name": "mcore_distributed_optim", "grad_sync_dtype": "fp32"},
        **kernels(),
    }
