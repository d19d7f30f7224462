"""A checkpoint of NeMo's for the scoring loop: ours, or of others."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from nemo_hs2pref.checkpoint.families.config import ORIGIN
from nemo_hs2pref.checkpoint.opening import opened, read_config
from nemo_hs2pref.config.architecture import SIZES
from nemo_hs2pref.config.schema.reward_model import RewardModelConfig
from nemo_hs2pref.data.batches.tokens import TokenBatch, token_batch
from nemo_hs2pref.data.datasets import tokenizer_of
from nemo_hs2pref.data.templates.tokens import make_tokenize_rows
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.recipes.rm import RECIPE, load_reward_model_config
from nemo_hs2pref.runtime.platform import machine
from nemo_hs2pref.scoring.journal import fingerprint
from nemo_hs2pref.scoring.loop import Replica


@dataclass(frozen=True)
class Rows:
    """A micro batch of nothing but tokens."""

    tokens: TokenBatch


class NemoModel:
    """The reward model of the checkpoint at `path`, spread over tensor_parallel x pipeline_parallel ranks."""

    def __init__(self, path: Path, tensor_parallel: int = 1, pipeline_parallel: int = 1) -> None:
        self.path, self.checkpoint = path, read_config(path)
        if "head" not in self.checkpoint:
            raise CheckpointError(f"{path}: has no reward head; expected a checkpoint of `hs2pref train rm`")
        self.config = inference_config(path, self.checkpoint, tensor_parallel, pipeline_parallel)
        RECIPE.check(self.config, self.checkpoint)
        self.attributes: Sequence[str] = list(self.config.head.attributes)
        self.reward_weights: Sequence[float] = list(self.config.head.reward_weights)
        self.max_length = self.config.model.encoder_seq_length
        # NeMo's own positions are the length of the training, past which RoPE goes on
        positions = {**self.checkpoint, **self.checkpoint.get(ORIGIN, {}).get("config", {})}
        self.num_positions: int = positions["max_position_embeddings"]
        self.tokenize = make_tokenize_rows(tokenizer_of(opened(path)), self.config.data.template)
        self.fingerprint: Mapping[str, Any] = fingerprint(
            path, template=self.config.data.template, precision=precision(self.checkpoint)
        )

    def build(self) -> Any:
        """The model with fresh weights."""
        machine.prepare()
        from nemo_hs2pref.runtime.run.build import build_reward_model  # heavy: NeMo

        return build_reward_model(self.config, self.checkpoint, max_steps=1)

    def load(self) -> Replica:
        self.model = self.build()
        from megatron.core import parallel_state

        from nemo_hs2pref.checkpoint.megatron.weights import load_weights

        load_weights(self.model, self.path, head=True)
        self.model.prepare_for_validation_step()
        return Replica(
            parallel_state.get_data_parallel_rank(),
            parallel_state.get_data_parallel_world_size(),
            is_leader=parallel_state.get_tensor_model_parallel_rank() == 0,  # only the last stage has outputs
        )

    def forward(self, rows: Sequence[Sequence[int]]) -> Tensor | None:
        outputs = self.model.outputs([Rows(token_batch(rows, multiple_of=1, device=machine.device()))])
        return outputs[0] if outputs else None


def precision(checkpoint: dict[str, Any]) -> str:
    """bf16 weights are computed in bf16 on a GPU, where a CPU would be slower and less exact."""
    return "bf16" if checkpoint["precision"] == "bf16" and machine.has_cuda() else "32"


def inference_config(
    path: Path, checkpoint: dict[str, Any], tensor_parallel: int, pipeline_parallel: int
) -> RewardModelConfig:
    """The checkpoint's own settings in another layout."""
    head = checkpoint["head"]
    bf16 = precision(checkpoint) == "bf16"
    data_parallel = max(int(os.environ.get("WORLD_SIZE", 1)) // (tensor_parallel * pipeline_parallel), 1)
    overrides = [
        "parallel=single",
        f"trainer.devices={os.environ.get('WORLD_SIZE', 1)}",
        f"trainer.precision='{precision(checkpoint)}'",
        f"model.megatron_amp_O2={str(bf16).lower()}",
        f"model.tensor_model_parallel_size={tensor_parallel}",
        f"model.pipeline_model_parallel_size={pipeline_parallel}",
        f"model.encoder_seq_length={checkpoint['encoder_seq_length']}",
        *(f"model.{key}=null" for key in (*SIZES, "qkv_bias")),
        f"head.attributes=[{','.join(head['attributes'])}]",
        f"head.reward_weights={list(head['reward_weights'])}".replace(" ", ""),
        f"head.bias={str(head['bias']).lower()}",
        f"data.attributes=[{head['attributes'][0]}]",
        f"data.template={head['template']}",
        "loss=regression",
        "data.dir=unused",
        "exp_manager.explicit_log_dir=unused",
        "pretrained_checkpoint.restore_from_path=unused",
        f"model.global_batch_size={data_parallel}",  # of no meaning here, but every rank must have its part
    ]
    config, _ = load_reward_model_config(overrides)
    config.pretrained_checkpoint.restore_from_path = str(path)  # past Hydra's grammar, which takes no "=" or ","
    return config
