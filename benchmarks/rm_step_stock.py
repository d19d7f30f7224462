"""Stock NeMo-Aligner 0.7.0's side of rm_step.py: its data set, model, trainer and step, in the order of its
examples/nlp/gpt/train_reward_model.py, on this project's runtime layers.

What differs from a documented run, besides the machine: sequential rows, Megatron's distributed optimizer in the place
of Apex's, float32, no validation and no saving, weights from a checkpoint that has no output layer.
"""

import time
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from megatron.core.models.gpt import gpt_layer_specs
from megatron.core.transformer.dot_product_attention import DotProductAttention
from nemo_aligner.algorithms.supervised import SupervisedTrainer
from nemo_aligner.data.nlp.builders import build_dataloader, build_train_valid_test_regression_rm_datasets
from nemo_aligner.models.nlp.gpt.megatron_gpt_regression_reward_model import MegatronGPTRegressionRewardModel
from nemo_aligner.utils.train_script_utils import (
    extract_optimizer_scheduler_from_ptl_model,
    init_distributed,
    init_using_ptl,
    resolve_and_create_trainer,
)
from omegaconf import DictConfig, OmegaConf

from nemo_hs2pref.checkpoint.layout import WEIGHTS
from nemo_hs2pref.checkpoint.opening import read_config
from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.models.reward.head import RewardHead
from nemo_hs2pref.runtime.platform.sdpa_attention import SdpaAttention
from nemo_hs2pref.runtime.run import nemo_config


class MaskedSdpaAttention(SdpaAttention):
    """Aligner's masks are causal and nothing else; this attention needs none."""

    def forward(self, query: Any, key: Any, value: Any, attention_mask: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return super().forward(query, key, value, None, *args, **kwargs)


def stock(config: RewardModelConfig, rows: Path, *, sdpa: bool) -> Any:
    """A function that takes one optimizer step; as in Aligner, its clock starts when the batch is there."""
    gpt_layer_specs.DotProductAttention = MaskedSdpaAttention if sdpa else DotProductAttention
    base = Path(config.pretrained_checkpoint.restore_from_path)
    cfg = stock_config(config, base, rows)
    ptl_trainer = resolve_and_create_trainer(cfg, "rm")
    model = MegatronGPTRegressionRewardModel(cfg.model, ptl_trainer)
    init_distributed(ptl_trainer, model)
    load_base(model, base)
    set_head(model, config)

    data, size = cfg.model.data, cfg.model.global_batch_size
    train, *_ = build_train_valid_test_regression_rm_datasets(
        cfg=cfg.model,
        data_prefix=data.data_prefix,
        data_impl=data.data_impl,
        splits_string=None,
        train_valid_test_num_samples=[-size] * 3,
        seq_length=data.seq_length,
        seed=cfg.model.seed,
        tokenizer=model.tokenizer,
    )
    loader = build_dataloader(cfg, train, 0, cfg.model.micro_batch_size, size, use_random_sampler=False)
    init_using_ptl(ptl_trainer, model, loader, train)
    optimizer, scheduler = extract_optimizer_scheduler_from_ptl_model(model)
    nothing: Any = None
    trainer = SupervisedTrainer(
        cfg.trainer.rm, model, optimizer, scheduler, loader, loader, nothing, nothing, nothing, nothing
    )
    batches = iter(loader)

    def step() -> dict[str, float]:
        batch = next(batches)
        started = time.perf_counter()
        loss, _ = trainer.train_single_step(batch)
        seconds = time.perf_counter() - started
        tokens, positions = int(batch["lengths"].sum()), batch["inputs"].numel()
        return {"loss": loss, "tokens": tokens, "positions": positions, "seconds": seconds}

    return step


def stock_config(config: RewardModelConfig, base: Path, rows: Path) -> DictConfig:
    """The run's settings under Aligner's keys: what ours hands to NeMo, and the data section that ours leaves empty."""
    loop = config.trainer.rm
    model = nemo_config.model_config(config, read_config(base), max_steps=loop.max_steps)
    model.data = {
        "data_impl": "jsonl",
        "data_prefix": {split: [str(rows)] for split in ("train", "validation", "test")},
        "seq_length": config.model.encoder_seq_length,
        "splits_string": None,
        "num_workers": 0,
    }
    trainer = nemo_config.trainer_config(config, loop.max_steps)
    trainer["rm"] = {
        "max_epochs": 1,
        "max_steps": loop.max_steps,
        "val_check_interval": 100,
        "save_interval": 100,
        "limit_val_batches": 1,
        "gradient_clip_val": loop.gradient_clip_val,
    }
    return OmegaConf.create({"trainer": trainer, "model": model, "exp_manager": {"log_tflops_per_sec_per_gpu": False}})


def load_base(model: Any, base: Path) -> None:
    """The transformer's weights; the vocabulary output layer, which a reward model never calls, stays random."""
    wanted = {
        key: tensor
        for key, tensor in model.sharded_state_dict().items()
        if not key.endswith("_extra_state") and not key.startswith(("model.rm_head.", "model.output_layer."))
    }
    loaded = dist_checkpointing.load(wanted, str(base / WEIGHTS))
    weights = {key.removeprefix("model."): loaded[key] for key in wanted}
    (module,) = model.get_model_module_list()
    result = module.load_state_dict(weights, strict=False)
    assert not result.unexpected_keys and len(weights) > 4 * config_layers(base), result


def config_layers(base: Path) -> int:
    return read_config(base)["num_layers"]


def set_head(model: Any, config: RewardModelConfig) -> None:
    """The first values that ours has: they depend on the seed alone."""
    (module,) = model.get_model_module_list()
    head = module.rm_head
    fresh = RewardHead(
        head.weight.size(1), head.weight.size(0), bias=True, seed=config.model.seed, sequence_parallel=False
    )
    with torch.no_grad():
        head.weight.copy_(fresh.weight)
        head.bias.zero_()
