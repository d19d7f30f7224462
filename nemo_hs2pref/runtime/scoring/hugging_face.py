"""A Hugging Face folder for the scoring loop, through transformers; NeMo is not needed.

Read as a reward model: any ...ForSequenceClassification that transformers knows, ours or anybody's, whose labels are
the attributes; and our export as a language model whose logit of token 0 is the reward (layouts.NEMOTRON). Every rank
holds a whole model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nemo_hs2pref.checkpoint.hugging_face.head import reward_weights
from nemo_hs2pref.checkpoint.hugging_face.layouts import KEY, NEMOTRON
from nemo_hs2pref.checkpoint.layout import HF_CONFIG, read_hugging_face_config
from nemo_hs2pref.data.batches import pad
from nemo_hs2pref.data.templates.tokens import make_tokenize_rows
from nemo_hs2pref.errors import CheckpointError
from nemo_hs2pref.runtime import machine
from nemo_hs2pref.runtime.scoring.journal import fingerprint
from nemo_hs2pref.runtime.scoring.loop import Replica

UNBOUNDED = 2**31  # positions of a model that names no number of them
CLASSIFIER = "ForSequenceClassification"  # how transformers' names of such classes end


class HuggingFaceModel:
    """The reward model in the folder `path`."""

    def __init__(self, path: Path) -> None:
        machine.quiet_upstream()
        from transformers import AutoConfig, AutoTokenizer  # heavy

        refuse_unreadable(path)
        self.path = path
        try:
            self.config: Any = AutoConfig.from_pretrained(path, trust_remote_code=False)
            tokenizer: Any = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path}: transformers cannot read it ({str(error).splitlines()[0]})") from error
        if not is_token(self.config.pad_token_id, self.config.vocab_size):
            self.config.pad_token_id = None
        self.pad_token_id: int | None = self.config.pad_token_id
        ours: Mapping[str, Any] = getattr(self.config, KEY, {})
        self.is_nemotron = ours.get("layout") == NEMOTRON
        labels = [self.config.id2label[i] for i in range(self.config.num_labels)]
        self.attributes: Sequence[str] = ours["attributes"] if self.is_nemotron else labels
        self.reward_weights: Sequence[float] = reward_weights(self.attributes, ours.get("reward_weights"), str(path))
        self.bias: Sequence[float] | None = ours.get("dropped_bias")  # what the layout had no place for
        self.num_positions: int = getattr(self.config, "max_position_embeddings", None) or UNBOUNDED
        self.max_length = min(self.num_positions, tokenizer.model_max_length)
        template = ours.get("template", "tokenizer")
        self.tokenize = make_tokenize_rows(tokenizer, template)
        self.dtype = dtype(self.config)
        self.fingerprint: Mapping[str, Any] = fingerprint(path, template=template, precision=str(self.dtype))

    def load(self) -> Replica:
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification  # heavy

        auto = AutoModelForCausalLM if self.is_nemotron else AutoModelForSequenceClassification
        self.model, info = auto.from_pretrained(
            self.path,
            config=self.config,
            torch_dtype=self.dtype,
            output_loading_info=True,
            trust_remote_code=False,
        )
        if missing := info["missing_keys"]:  # transformers would make them up, and warn
            raise CheckpointError(f"{self.path}: tensor {sorted(missing)[0]} is missing; copy or download it again")
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
        logits = self.model(
            input_ids=tokens_BS.to(device), attention_mask=is_token_BS.to(device, torch.int64), use_cache=False
        ).logits
        if self.is_nemotron:
            logits = logits[torch.arange(len(rows)), lengths_B - 1]
        attributes_BK = logits.float()
        return attributes_BK if self.bias is None else attributes_BK + torch.tensor(self.bias, device=device)

    def padding(self, rows: Sequence[Sequence[int]]) -> int:
        """The model's padding token; without one, a token that no row has, as transformers finds a row's end by it."""
        if self.pad_token_id is not None:
            return self.pad_token_id
        used = {token for row in rows for token in row}
        self.model.config.pad_token_id = next(token for token in range(self.config.vocab_size) if token not in used)
        return self.model.config.pad_token_id


def refuse_unreadable(path: Path) -> None:
    """What a config.json says that no reward can be read of, in one sentence."""
    config = read_hugging_face_config(path)
    architectures = config.get("architectures") or []
    if "auto_map" in config:
        raise CheckpointError(
            f"{path / HF_CONFIG}: names code of its own (auto_map), which is not run; expected a model of transformers'"
        )
    if config.get(KEY, {}).get("layout") == NEMOTRON or any(name.endswith(CLASSIFIER) for name in architectures):
        return
    raise CheckpointError(
        f"{path / HF_CONFIG}: architectures is {architectures}, of which no reward can be read; expected a class that "
        f"ends in {CLASSIFIER}; a language model whose logit of token 0 is the reward is read after "
        f"`hs2pref convert from-hf --layout {NEMOTRON}`"
    )


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
