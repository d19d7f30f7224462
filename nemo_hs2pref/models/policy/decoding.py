"""One token after the other, with a cache of keys and values: the model's own layers, with another core attention.

Everything but the attention itself is what training runs: the layers' linear layers, norms on queries and keys, biases
and adapters, Transformer Engine's where it is there. Only what mixes tokens is replaced for the time: it turns queries
and keys to their places, appends keys and values to a cache, and attends over the cache.

Megatron-Core's own cache (0.11) turns all keys again at every step, and starts every prompt of a batch at the shortest
one.

Shapes: B rows, S tokens that are new, N places of the cache, G groups of keys on this rank, R heads of a group,
D numbers of a head, H hidden size, V rows of the output layer on this rank.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.models.gpt import GPTModel
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

PADDING = 0  # a token that no row attends to


@dataclass(frozen=True)
class Step:
    """What all layers need to know of the tokens that are computed now."""

    start: int  # their first place in the cache; 0: of a new batch
    places: int  # of the cache
    cosine: Tensor  # [B, 1, S, D]
    sine: Tensor
    mask: Tensor | None  # [B, 1, S, start + S] bool, True where a token is attended to; None: causal


class CachedAttention(torch.nn.Module):
    """In the place of one layer's core attention; holds the keys and values of the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.step: Step | None = None
        self.keys = self.values = torch.empty(0)  # [B, G, N, D]

    def keep(self, rows: Sequence[int], used: slice) -> None:
        """Rows by their numbers, any number of times each, and of the places those in use, which move to the front."""
        for name in ("keys", "values"):
            old: Tensor = getattr(self, name)
            new = old.new_empty((len(rows), *old.shape[1:]))
            new[:, :, : used.stop - used.start] = old[rows, :, used]
            setattr(self, name, new)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *args: object, **kwargs: object) -> Tensor:
        """[S, B, G*R, D], [S, B, G, D], [S, B, G, D] -> [S, B, G*R*D]"""
        assert self.step is not None
        step, (new, rows, heads, size) = self.step, query.shape
        query, key, value = (tensor.permute(1, 2, 0, 3) for tensor in (query, key, value))
        query, key = rotate(query, step), rotate(key, step)
        if step.start == 0:
            shape = (rows, key.size(1), step.places, size)
            self.keys, self.values = key.new_empty(shape), value.new_empty(shape)
        end = step.start + new
        self.keys[:, :, step.start : end], self.values[:, :, step.start : end] = key, value
        keys, values = self.keys[:, :, :end], self.values[:, :, :end]
        if new == 1:  # the heads of a group as tokens: no key is copied, and one query needs no causal mask
            grouped = query.reshape(rows, key.size(1), -1, size)
            context = scaled_dot_product_attention(grouped, keys, values, attn_mask=step.mask)
            return context.reshape(1, rows, heads * size)
        context = scaled_dot_product_attention(
            query, keys, values, attn_mask=step.mask, is_causal=step.mask is None, enable_gqa=True
        )
        return context.permute(2, 0, 1, 3).reshape(new, rows, heads * size)


def rotate(x: Tensor, step: Step) -> Tensor:
    """RoPE of [B, heads, S, D], whose first numbers are turned: all of them, or a part (rotary_percent)."""
    turned, rest = x.split([step.cosine.size(-1), x.size(-1) - step.cosine.size(-1)], dim=-1)
    left, right = turned.chunk(2, dim=-1)
    turned = turned * step.cosine + torch.cat((-right, left), dim=-1) * step.sine
    return torch.cat((turned, rest), dim=-1) if rest.size(-1) else turned


class Decoder:
    """Rows of tokens that grow by a token a step, on this rank's stage of the model and part of its vocabulary.

    Every rank of a copy of the model calls the same methods with the same arguments. Rows are padded on the left, so
    that all end at the same place; each has its own positions.
    """

    def __init__(self, model: GPTModel) -> None:
        """`model`: this rank's stage, within `decoding`."""
        self.model = model
        self.attentions: list[CachedAttention] = [layer.self_attention.core_attention for layer in model.decoder.layers]
        parameter = next(model.decoder.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.is_first, self.is_last = parallel_state.is_pipeline_first_stage(), parallel_state.is_pipeline_last_stage()
        self.start = self.places = 0
        self.padding: list[int] = []  # of each row

    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> Tensor | None:
        """Compute prompts, with room for so many tokens behind them; logits as `step` gives them."""
        longest = max(map(len, prompts))
        self.padding = [longest - len(prompt) for prompt in prompts]
        self.start, self.places = 0, longest + room
        rows = [[PADDING] * padding + list(prompt) for padding, prompt in zip(self.padding, prompts, strict=True)]
        return self._forward(torch.tensor(rows).to(self.device))

    def step(self, tokens: Tensor) -> Tensor | None:
        """Append a token to each row, [B] int64; the logits of the token behind it.

        Returns:
            [B, V] float32 on the last stage, None elsewhere.
        """
        return self._forward(tokens.unsqueeze(1))

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows, by number; a row may be there several times, or not at all."""
        padding = [self.padding[row] for row in rows]
        front = min(padding)
        for attention in self.attentions:
            attention.keep(rows, slice(front, self.start))
        self.padding, self.start = [places - front for places in padding], self.start - front

    def _forward(self, tokens: Tensor) -> Tensor | None:
        step = self._step(*tokens.shape)
        for attention in self.attentions:
            attention.step = step
        hidden = None
        if self.is_first:
            hidden = self.model.embedding(input_ids=tokens, position_ids=None)
        else:
            rows, new = tokens.shape
            received = torch.empty((new, rows, self.model.config.hidden_size), dtype=self.dtype, device=self.device)
            torch.distributed.recv(received, parallel_state.get_pipeline_model_parallel_prev_rank())
            self.model.decoder.set_input_tensor(received)
        hidden = self.model.decoder(hidden_states=hidden, attention_mask=None)
        self.start += tokens.size(1)
        if not self.is_last:
            torch.distributed.send(hidden.contiguous(), parallel_state.get_pipeline_model_parallel_next_rank())
            return None
        tied = self.model.share_embeddings_and_output_weights
        weight = self.model.shared_embedding_or_output_weight() if tied else None
        logits, _ = self.model.output_layer(hidden[-1:], weight=weight)
        return logits[0].float()

    def _step(self, rows: int, new: int) -> Step:
        """Positions count from each row's own first token."""
        column = torch.arange(self.start, self.start + new, device=self.device)
        padding = torch.tensor(self.padding, device=self.device).view(rows, 1, 1)
        rope = self.model.rotary_pos_emb
        position = (column - padding).clamp(min=0) / (rope.seq_len_interpolation_factor or 1)  # [B, 1, S]
        angle = position.unsqueeze(-1) * rope.inv_freq.to(self.device)
        angle = torch.cat((angle, angle), dim=-1)
        mask = None
        if any(self.padding):
            every, own = torch.arange(self.start + new, device=self.device), column.view(1, 1, new, 1)
            # padding attends to itself, or its softmax would be of nothing
            mask = (every >= padding.unsqueeze(-1)) & (every <= own) | (every == own)
        return Step(self.start, self.places, angle.cos().to(self.dtype), angle.sin().to(self.dtype), mask)


@contextmanager
def decoding(model: GPTModel) -> Iterator[Decoder]:
    """A decoder of this rank's stage of the model, which is as it was afterwards.

    model: not wrapped. Evaluation mode, no gradients; no sequence parallelism, which cannot split one token.
    """
    attentions = [layer.self_attention for layer in model.decoder.layers]
    before = [attention.core_attention for attention in attentions]
    was_training = model.training
    try:
        with torch.no_grad(), without_sequence_parallel(model):
            for attention in attentions:
                attention.core_attention = CachedAttention()
            model.eval()
            yield Decoder(model)
    finally:
        for attention, core in zip(attentions, before, strict=True):
            attention.core_attention = core
        model.train(was_training)


@contextmanager
def without_sequence_parallel(model: GPTModel) -> Iterator[None]:
    """Megatron's modules copy the setting when they are built."""
    changed: list[tuple[Any, str, Any]] = []

    def change(owner: Any, name: str, value: Any) -> None:
        if getattr(owner, name, value) != value:
            changed.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)

    if model.config.sequence_parallel:
        change(model.config, "sequence_parallel", False)
        for module in model.modules():
            for name in ("sequence_parallel", "scatter_to_sequence_parallel", "reduce_scatter_embeddings"):
                change(module, name, False)
    try:
        yield
    finally:
        for owner, name, value in reversed(changed):
            setattr(owner, name, value)
