"""Our configuration and the checkpoint's into what NeMo and Aligner read.

The only place that knows where upstream spells a setting twice or gives it a silent default.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.checkpoint.layout import TOKENIZER
from nemo_hs2pref.checkpoint.opening import opened
from nemo_hs2pref.config.architecture import embedding_rows
from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.runtime.platform import machine


def model_config(config: RewardModelConfig, checkpoint: Mapping[str, Any], *, max_steps: int) -> DictConfig:
    """NeMo's `model` section: the checkpoint's architecture, the run's settings, the machine's kernels."""
    tokenizer = opened(Path(config.pretrained_checkpoint.restore_from_path)) / TOKENIZER
    architecture = {key: value for key, value in checkpoint.items() if key not in ("target", "nemo_version")}
    run = config.model
    tensor_parallel = run.tensor_model_parallel_size
    settings = {
        "mcore_gpt": True,
        "name": "",
        "seed": run.seed,
        "precision": config.trainer.precision,
        "micro_batch_size": run.micro_batch_size,
        "global_batch_size": run.global_batch_size,
        "tensor_model_parallel_size": tensor_parallel,
        "pipeline_model_parallel_size": run.pipeline_model_parallel_size,
        "virtual_pipeline_model_parallel_size": None,
        "sequence_parallel": run.sequence_parallel and tensor_parallel > 1,
        "megatron_amp_O2": run.megatron_amp_O2,
        "encoder_seq_length": run.encoder_seq_length,
        "max_position_embeddings": run.encoder_seq_length,
        "override_vocab_size": embedding_rows(checkpoint),
        "share_embeddings_and_output_weights": False,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activations_checkpoint_granularity": run.activations_checkpoint_granularity,
        "activations_checkpoint_method": run.activations_checkpoint_method,
        "activations_checkpoint_num_layers": run.activations_checkpoint_num_layers,
        "gradient_as_bucket_view": True,
        "data": {},
        "tokenizer": {"library": "huggingface", "type": str(tokenizer), "use_fast": True},
        "head": {
            "attributes": list(config.head.attributes),
            "reward_weights": list(config.head.reward_weights),
            "bias": config.head.bias,
            "template": config.data.template,
        },
        "optim": optimizer_config(config, max_steps),
    }
    return OmegaConf.create(architecture | settings | peft_config(config) | aligner_loss(config) | kernels())


def aligner_loss(config: RewardModelConfig) -> dict[str, Any]:
    """The loss under both names: Aligner documents model.regression.loss_func and reads model.loss_func.

    Our model computes its objective from neither; they are stored so that Aligner, given one of our
    checkpoints, goes on with the loss it was trained with.
    """
    return {
        "reward_model_type": "regression",
        "loss_func": config.loss.name,
        "loss_mask_val": -100.0,
        "force_head_dtype": "float32",
        "regression": {
            "num_attributes": len(config.head.attributes),
            "loss_func": config.loss.name,
            "loss_mask_val": -100.0,
            "load_rm_head_weights": config.head.load_rm_head_weights,
            "merge_attributes": False,
            "attribute_weights": list(config.head.reward_weights),
        },
    }


def peft_config(config: RewardModelConfig) -> dict[str, Any]:
    """`model.peft` of a run with adapters; NeMo reads weight_tying without a default, and we do not offer it."""
    peft = config.model.peft
    if peft.lora_tuning is None:
        return {}
    return {
        "peft": {"peft_scheme": peft.peft_scheme, "lora_tuning": asdict(peft.lora_tuning) | {"weight_tying": False}}
    }


def optimizer_config(config: RewardModelConfig, max_steps: int) -> dict[str, Any]:
    """`model.optim`; NeMo would average gradients in the collective, which gloo cannot."""
    optim = config.model.optim
    schedule = optim.sched
    return {
        "name": optim.name,
        "lr": optim.lr,
        "weight_decay": optim.weight_decay,
        "betas": list(optim.betas),
        "grad_sync_dtype": "fp32",
        "average_in_collective": False,
        "sched": {
            "name": schedule.name,
            "warmup_steps": schedule.warmup_steps,
            "constant_steps": schedule.constant_steps,
            "min_lr": schedule.min_lr,
            "max_steps": max_steps,
        },
    }


def kernels() -> dict[str, Any]:
    """Transformer Engine and fused kernels where they are installed, Megatron's own layers elsewhere."""
    fused = machine.has_apex_and_te()
    return {
        "transformer_engine": fused,
        "persist_layer_norm": fused,
        "gradient_accumulation_fusion": fused,
        "masked_softmax_fusion": fused,
        "apply_rope_fusion": fused,
        "bias_activation_fusion": fused,
        "bias_dropout_add_fusion": fused,
        "use_cpu_initialization": not machine.has_cuda(),
    }


def trainer_config(config: RewardModelConfig, max_steps: int) -> dict[str, Any]:
    """Lightning's Trainer.

    The gradient clip stands here, because NeMo hands this one to the distributed optimizer; Aligner's own
    trainer.rm.gradient_clip_val never reaches it.
    """
    return {
        "num_nodes": config.trainer.num_nodes,
        "devices": config.trainer.devices,
        "accelerator": "gpu" if machine.has_cuda() else "cpu",
        "precision": {"bf16": "bf16", "32": "32-true"}[config.trainer.precision],
        "max_steps": max_steps,
        "gradient_clip_val": config.loop.gradient_clip_val,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }
