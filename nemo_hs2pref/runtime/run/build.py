"""From a configuration to a model on its place in the layout, with its optimizer.

The only file that reads a configuration and calls NeMo's constructors. Call `machine.prepare()` first.
"""

import os
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from nemo.collections.nlp.parts.megatron_trainer_builder import MegatronTrainerBuilder
from nemo_aligner.utils.train_script_utils import init_distributed
from omegaconf import OmegaConf

from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.models.megatron.lora import add_lora
from nemo_hs2pref.models.reward.megatron_reward_model import MegatronRewardModel
from nemo_hs2pref.models.trainable import Trainable
from nemo_hs2pref.runtime.run import nemo_config


class TrainerBuilder(MegatronTrainerBuilder):
    """Takes the ranks from RANK and the variables beside it, whoever set them.

    Lightning would look for SLURM's variables first: in a batch script it would wait for all tasks of the job.
    """

    def _plugins(self) -> list[Any]:
        has_ranks = "RANK" in os.environ
        return [*super()._plugins(), TorchElasticEnvironment() if has_ranks else LightningEnvironment()]


def build_reward_model(
    config: RewardModelConfig, checkpoint: Mapping[str, Any], *, max_steps: int
) -> MegatronRewardModel:
    """A reward model with fresh weights, its process group initialised.

    `checkpoint` is the model_config.yaml of the checkpoint whose weights will be loaded.
    """
    model_cfg = nemo_config.model_config(config, checkpoint, max_steps=max_steps)
    cfg = OmegaConf.create({"trainer": nemo_config.trainer_config(config, max_steps), "model": model_cfg})
    cfg.exp_manager = {"log_tflops_per_sec_per_gpu": False}
    torch.manual_seed(config.model.seed)
    trainer = TrainerBuilder(cfg).create_trainer()
    model = MegatronRewardModel(cfg.model, trainer)  # pyright: ignore[reportCallIssue] NeMo's constructor
    if config.model.peft.lora_tuning is not None:
        add_lora(model)
    init_distributed(trainer, model, use_te=cfg.model.transformer_engine)
    return model.cuda()  # pyright: ignore[reportReturnType] Lightning's Self


def make_trainable(model: MegatronRewardModel) -> Trainable:
    """Wrap the model in Megatron's data-parallel buffers and shard its optimizer. Load weights before."""
    model.setup_mcore_distributed_parallel()
    optimizer, scheduler = model.setup_optimization()
    correct_state_places(optimizer.mcore_optimizer)
    return Trainable(model, optimizer, scheduler["scheduler"])


def correct_state_places(optimizer: Any) -> None:
    """Make Megatron's DistributedOptimizer save and load the state of the right parameter in every group.

    It records each parameter's place in its group while it goes through the gradient buffers, one per dtype, then
    puts the float32 parameters first. With bfloat16 weights and the float32 head in one group the places are wrong:
    saving fails or, where shapes agree, stores another parameter's state. So it is in megatron-core 0.11, with
    Transformer Engine too; Megatron-LM issue 2777. Correct places stay as they are.
    """
    for part in getattr(optimizer, "chained_optimizers", [optimizer]):
        for group, parameters in enumerate(zip(part.model_fp32_groups, part.model_float16_groups, strict=True)):
            for place, parameter in enumerate(chain(*parameters)):
                part.model_param_group_index_map[parameter] = (group, place)
