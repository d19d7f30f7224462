"""A Hugging Face folder for the scoring loop, through transformers; NeMo is not needed.

Read as a reward model: any ...ForSequenceClassification that transformers knows, ours or anybody's, whose labels are
the attributes; and our export as a language model whose logit of token 0 is the reward (layouts.NEMOTRON). Every rank
holds a whole model.

The reward is read at the last token of a row, by its length. transformers takes the last token that is not the padding
token, which is an earlier one where the text itself ends with that token.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nemo_hs2pref.checkpoint.hugging_face.folder.opened import CLASSIFIER, open_folder
from nemo_hs2pref.checkpoint.hugging_face.folder.tensors import OTHER_HEADS
from nemo_hs2pref.checkpoint.hugging_face.head import reward_weights
from nemo_hs2pref.checkpoint.hugging_face.layouts import CLASSIFICATION, KEY, NEMOTRON
from nemo_hs2pref.checkpoint.layout import HF_CONFIG
from nemo_hs2pref.checkpoint.reward_head import HELPFULNESS
from nemo_hs2pref.data.batches.tokens import pad
from nemo_hs2pref.data.templates.tokens import make_tokenize_rows
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.runtime.platform import machine
from nemo_hs2pref.scoring.journal import fingerprint
from nemo_hs2pref.scoring.loop import Replica

UNBOUNDED = 2**31  # positions of a model that names no number of them


class HuggingFaceModel:
    """The reward model in the folder `path`."""

    def __init__(self, path: Path) -> None:
        machine.quiet_upstream()
        self.path = path
        folder = open_folder(path)
        refuse_no_reward(path, folder.config, folder.layout)
        self.config: Any = folder.config
        if not is_token(self.config.pad_token_id, self.config.vocab_size):
            self.config.pad_token_id = None
        self.pad_token_id: int | None = self.config.pad_token_id
        ours: Mapping[str, Any] = getattr(self.config, KEY, {})
        self.is_nemotron = folder.layout == NEMOTRON
        labels = [self.config.id2label[i] for i in range(self.config.num_labels)]
        self.attributes: Sequence[str] = ours.get("attributes", [HELPFULNESS]) if self.is_nemotron else labels
        self.reward_weights: Sequence[float] = reward_weights(self.attributes, ours.get("reward_weights"), str(path))
        self.bias: Sequence[float] | None = ours.get("dropped_bias")  # what the layout had no place for
        self.num_positions: int = getattr(self.config, "max_position_embeddings", None) or UNBOUNDED
        self.max_length = min(self.num_positions, folder.tokenizer.model_max_length)
        assert folder.template is not None
        self.tokenize = make_tokenize_rows(folder.tokenizer, folder.template)
        self.dtype = dtype(self.config)
        self.fingerprint: Mapping[str, Any] = fingerprint(path, template=folder.template, precision=str(self.dtype))
        for note in folder.notes:
            print(f"note: {note}", file=sys.stderr)

    def load(self) -> Replica:
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification  # heavy

        auto = AutoModelForCausalLM if self.is_nemotron else AutoModelForSequenceClassification
        try:
            self.model, info = auto.from_pretrained(
                self.path,
                config=self.config,
                torch_dtype=self.dtype,
                output_loading_info=True,
                trust_remote_code=False,
            )
        except Exception as error:  # transformers' classes, torch and safetensors each have their own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"{self.path}: transformers cannot load it ({reason:.200})") from error
        refuse_other_weights(self.path, info)
        self.model.to(machine.device()).eval()
        keep_head_in_float32(self.model, rows=1 if self.is_nemotron else None)
        if not torch.distributed.is_initialized():
            return Replica(0, 1, is_leader=True)
        return Replica(torch.distributed.get_rank(), torch.distributed.get_world_size(), is_leader=True)

    def forward(self, rows: Sequence[Sequence[int]]) -> Tensor:
        tokens_BS, lengths_B = pad(rows, 1)
        is_token_BS = torch.arange(tokens_BS.size(1)) < lengths_B[:, None]
        tokens_BS = tokens_BS.masked_fill(~is_token_BS, self.padding(rows))
        device = machine.device()
        inputs = {"input_ids": tokens_BS.to(device), "attention_mask": is_token_BS.to(device, torch.int64)}
        attributes_BK = self.outputs(inputs, torch.arange(len(rows)), lengths_B - 1).float()
        return attributes_BK if self.bias is None else attributes_BK + torch.tensor(self.bias, device=device)

    def outputs(self, inputs: Mapping[str, Tensor], row_B: Tensor, last_B: Tensor) -> Tensor:
        """[B, K] at the last tokens; of classifiers that look elsewhere, as BERT's at the first, what they say."""
        if self.is_nemotron:
            return self.model(**inputs, use_cache=False, return_dict=True).logits[row_B, last_B]
        if isinstance(head := getattr(self.model, "score", None), torch.nn.Linear):
            hidden_BSH = self.model.base_model(**inputs, use_cache=False, return_dict=True)[0]
            return head(hidden_BSH[row_B, last_B])
        return self.model(**inputs, return_dict=True).logits

    def padding(self, rows: Sequence[Sequence[int]]) -> int:
        """The model's padding token; without one, a token that no row has, as transformers finds a row's end by it."""
        if self.pad_token_id is not None:
            return self.pad_token_id
        used = {token for row in rows for token in row}
        self.model.config.pad_token_id = next(token for token in range(self.config.vocab_size) if token not in used)
        return self.model.config.pad_token_id


def refuse_no_reward(path: Path, config: Any, layout: str | None) -> None:
    """What is no reward model, or of no class that transformers has."""
    if layout not in (CLASSIFICATION, NEMOTRON):
        raise CheckpointError(
            f"{path / HF_CONFIG}: architectures is {config.architectures}, of which no reward can be read; expected a "
            f"class that ends in {CLASSIFIER}; a language model whose logit of token 0 is the reward is read after "
            f"`hs2pref convert from-hf --layout {NEMOTRON}`"
        )


def refuse_other_weights(path: Path, info: Mapping[str, Any]) -> None:
    """transformers would make missing tensors up, and leave out those that its class has not."""
    if missing := sorted(info["missing_keys"]):
        other = next((name for name in info["unexpected_keys"] if OTHER_HEADS.search(name)), None)
        instead = f" (there is {other} instead, as another project names its head)" if other else ""
        raise CheckpointError(f"{path}: tensor {missing[0]} is missing{instead}; copy or download it again")


def is_token(token: int | None, vocab_size: int) -> bool:
    """Some configurations have -1 in the place of no token."""
    return token is not None and 0 <= token < vocab_size


def dtype(config: Any) -> torch.dtype:
    """16 bits on a GPU where the weights have 16, in bfloat16, as float16 overflows where training had bfloat16's
    range; else float32."""
    is_small = config.torch_dtype in (torch.bfloat16, torch.float16)
    return torch.bfloat16 if is_small and machine.has_cuda() else torch.float32


def keep_head_in_float32(model: Any, rows: int | None) -> None:
    """Rewards of bfloat16 are 1/64 apart at 4, and tie. `rows`: of the output layer, those that are read."""
    head = model.get_output_embeddings() if rows else getattr(model, "score", None)
    if isinstance(head, torch.nn.Linear):
        head.weight = torch.nn.Parameter(head.weight[:rows].float())
        head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
