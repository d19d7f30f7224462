"""Rewards of conversations by a reward-model checkpoint. Every rank calls these together."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nemo_hs2pref.checkpoint.layout import opened, read_config
from nemo_hs2pref.config.architecture import SIZES
from nemo_hs2pref.config.check import check
from nemo_hs2pref.config.load import load_reward_model_config
from nemo_hs2pref.config.schema import RewardModelConfig
from nemo_hs2pref.data.batches import ResponseItem, collate
from nemo_hs2pref.data.datasets import tokenizer_of
from nemo_hs2pref.data.records import Conversation
from nemo_hs2pref.data.sampling import share
from nemo_hs2pref.data.templates.tokens import make_tokenize
from nemo_hs2pref.errors import CheckpointError, DataError
from nemo_hs2pref.runtime import machine

TOKENS_A_BATCH = 4096  # padded; one longer row is a batch of its own


def score_rows(
    path: str | Path, conversations: Sequence[Conversation], tensor_parallel: int = 1, pipeline_parallel: int = 1
) -> list[dict[str, Any]]:
    """[{"id", "reward", "attributes": {name: value}}] in the order given; see Scorer."""
    scorer = Scorer(Path(path), tensor_parallel, pipeline_parallel)
    scorer.load(Path(path))
    return scorer.score(conversations)


class Scorer:
    """A reward model of the architecture, head and template of the checkpoint at `path`; `load` gives it weights."""

    def __init__(self, path: Path, tensor_parallel: int = 1, pipeline_parallel: int = 1) -> None:
        checkpoint = read_config(path)
        if "head" not in checkpoint:
            raise CheckpointError(f"{path}: has no reward head; expected a checkpoint of `hs2pref train rm`")
        config = inference_config(path, checkpoint, tensor_parallel, pipeline_parallel)
        check(config, checkpoint)
        machine.prepare()
        from nemo_hs2pref.runtime.build import build_reward_model  # heavy: NeMo

        self.model = build_reward_model(config, checkpoint, max_steps=1)
        self.slots = list(config.head.attributes)
        self.max_length = config.model.encoder_seq_length
        self.tokenize = make_tokenize(tokenizer_of(opened(path)), config.data.template)

    def load(self, path: Path) -> None:
        """Put in the weights of a checkpoint of this architecture: backbone, head, and its attributes in the reward."""
        from nemo_hs2pref.checkpoint.weights import load_weights

        self.weights = torch.tensor(read_config(path)["head"]["reward_weights"], dtype=torch.float64)
        load_weights(self.model, path, head=True)
        self.model.prepare_for_validation_step()

    @torch.no_grad()
    def score(self, conversations: Sequence[Conversation]) -> list[dict[str, Any]]:
        """Rows are sorted by length and batched by tokens; data-parallel ranks share the batches."""
        from megatron.core import parallel_state

        tokens = self.tokenize([conversation.messages for conversation in conversations])
        for conversation, row in zip(conversations, tokens, strict=True):
            if len(row) > self.max_length:
                raise DataError(
                    f"row {conversation.id!r} has {len(row)} tokens, the model takes {self.max_length}; leave it out"
                )
        batches = batches_by_tokens([len(row) for row in tokens])
        mine = share(batches, parallel_state.get_data_parallel_rank(), parallel_state.get_data_parallel_world_size())
        quiet = True if torch.distributed.get_rank() > 0 else None  # None: on a terminal only
        scored: dict[int, list[float]] = {}
        with tqdm(total=sum(map(len, mine)), unit="row", desc="scoring", disable=quiet) as bar:
            for indices in mine:
                items = [ResponseItem(tokens[i], [], 0) for i in indices]
                batch = collate(items, multiple_of=1, device=machine.device())
                for attributes_BK in self.model.score([batch]):
                    scored |= zip(indices, attributes_BK.tolist(), strict=True)
                bar.update(len(indices))
        return [self.row(conversations[i].id, values) for i, values in sorted(gather(scored).items())]

    def row(self, name: str, values: list[float]) -> dict[str, Any]:
        reward = float(torch.tensor(values, dtype=torch.float64) @ self.weights)
        return {"id": name, "reward": reward, "attributes": dict(zip(self.slots, values, strict=True))}


def batches_by_tokens(lengths: Sequence[int]) -> list[list[int]]:
    """Row numbers of each batch, longest rows first, so that memory is known after the first batch."""
    batches: list[list[int]] = []
    width = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not batches or (len(batches[-1]) + 1) * width > TOKENS_A_BATCH:
            batches.append([])
            width = lengths[i]
        batches[-1].append(i)
    return batches


def gather(scored: dict[int, list[float]]) -> dict[int, list[float]]:
    """What any rank scored, on every rank."""
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, scored)
    return {i: values for part in parts for i, values in part.items()}


def inference_config(
    path: Path, checkpoint: dict[str, Any], tensor_parallel: int, pipeline_parallel: int
) -> RewardModelConfig:
    """The checkpoint's own settings in another layout."""
    head = checkpoint["head"]
    precision = "bf16" if checkpoint["precision"] == "bf16" and machine.has_cuda() else "32"
    data_parallel = max(int(os.environ.get("WORLD_SIZE", 1)) // (tensor_parallel * pipeline_parallel), 1)
    overrides = [
        "parallel=single",
        f"trainer.devices={os.environ.get('WORLD_SIZE', 1)}",
        f"trainer.precision='{precision}'",
        f"model.megatron_amp_O2={str(precision == 'bf16').lower()}",
        f"model.tensor_model_parallel_size={tensor_parallel}",
        f"model.pipeline_model_parallel_size={pipeline_parallel}",
        f"model.encoder_seq_length={checkpoint['encoder_seq_length']}",
        *(f"model.{key}=null" for key in SIZES),
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
    config, _ = load_reward_model_config("train_rm", overrides)
    config.pretrained_checkpoint.restore_from_path = str(path)  # past Hydra's grammar, which takes no "=" or ","
    return config
