"""Log-probabilities of chosen tokens, without the logits of all of them at once.

The output layer is the widest of a model: at 4,096 tokens, a vocabulary of 128,256 and float32 its logits are 2 GiB,
and a softmax with its gradient is five times that. Here logits exist for a few tokens at a time, in the forward pass
and again in the backward pass, and one number a token is kept between them.

Shapes: N tokens, H hidden size, V rows of the output layer, T tensor-parallel ranks, each with V/T rows in order.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributed import ProcessGroup, ReduceOp, all_reduce

CHUNK = 128  # tokens whose logits exist together [ours; measured in docs/performance.md]


def token_log_probs(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    targets_N: Tensor,
    *,
    temperature: float = 1.0,
    vocabulary: tuple[int, int] | None = None,
    group: ProcessGroup | None = None,
    chunk: int = CHUNK,
) -> Tensor:
    """log softmax(hidden @ weight.T / temperature) at the targets.

    Args:
        hidden_NH: what the output layer reads, [N, H], float32 or bfloat16; equal on the ranks of `group`. Its gradient
            is that of this rank's rows alone: sum it over the group (copy_to_tensor_model_parallel_region does).
        weight_VH: this rank's rows of the output layer, [V/T, H], in the dtype of `hidden_NH`.
        targets_N: tokens, [N] int64, in the numbers of the whole vocabulary.
        temperature: logits are divided by it; that of sampling, above 0.
        vocabulary: (first row of this rank, number of rows that are tokens); rows from there on are padding and have
            probability 0. None: this rank has all rows and all are tokens.
        group: the ranks over which the vocabulary is split; None: this one has all of it.
        chunk: tokens whose logits exist together.

    Returns:
        [N] float32, equal on the ranks of `group`. The gradients are computed in float32 and returned in the dtypes of
        the arguments.

    >>> token_log_probs(torch.eye(2), torch.zeros(4, 2), torch.tensor([0, 3]))
    tensor([-1.3863, -1.3863])
    """
    first, size = vocabulary or (0, len(weight_VH))
    return _TokenLogProbs.apply(hidden_NH, weight_VH, targets_N, 1 / temperature, first, size, group, chunk)


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        targets_N: Tensor,
        scale: float,
        first: int,
        size: int,
        group: ProcessGroup | None,
        chunk: int,
    ) -> Tensor:
        at_target, log_sums = [], []
        for part in parts(len(targets_N), chunk):
            logits = logits_of(hidden_NH[part], weight_VH, scale, first, size)
            local, is_mine = local_rows(targets_N[part], first, len(weight_VH))
            largest = logits.amax(dim=1)
            if group is not None:
                all_reduce(largest, ReduceOp.MAX, group=group)
            target = logits.gather(1, local.unsqueeze(1)).squeeze(1).where(is_mine, 0.0)
            both = torch.stack([target, logits.sub_(largest.unsqueeze(1)).exp_().sum(dim=1)])
            if group is not None:
                all_reduce(both, group=group)
            at_target.append(both[0])
            log_sums.append(largest + both[1].log())
        log_sum_N = torch.cat([*log_sums, hidden_NH.new_empty(0, dtype=torch.float32)])
        ctx.save_for_backward(hidden_NH, weight_VH, targets_N, log_sum_N)
        ctx.settings = scale, first, size, chunk
        return torch.cat([*at_target, hidden_NH.new_empty(0, dtype=torch.float32)]) - log_sum_N

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """d log p(target) / d logits = one-hot - softmax."""
        (grad_N,) = gradients
        hidden_NH, weight_VH, targets_N, log_sum_N = ctx.saved_tensors
        scale, first, size, chunk = ctx.settings
        grad_hidden = torch.zeros_like(hidden_NH)
        grad_weight = torch.zeros_like(weight_VH, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        for part in parts(len(targets_N), chunk):
            logits = logits_of(hidden_NH[part], weight_VH, scale, first, size)
            grad_logits = logits.sub_(log_sum_N[part].unsqueeze(1)).exp_().neg_()
            local, is_mine = local_rows(targets_N[part], first, len(weight_VH))
            grad_logits.scatter_add_(1, local.unsqueeze(1), is_mine.float().unsqueeze(1))
            grad_logits *= (grad_N[part].float() * scale).unsqueeze(1)
            grad_hidden[part] = grad_logits.to(weight_VH.dtype) @ weight_VH
            if grad_weight is not None:
                grad_weight.addmm_(grad_logits.t(), hidden_NH[part].float())
        return grad_hidden, None if grad_weight is None else grad_weight.to(weight_VH.dtype), *[None] * 6


def parts(length: int, chunk: int) -> Iterator[slice]:
    return (slice(start, start + chunk) for start in range(0, length, chunk))


def logits_of(hidden_NH: Tensor, weight_VH: Tensor, scale: float, first: int, size: int) -> Tensor:
    """[N, V/T] in float32; -inf where a row is padding."""
    logits = (hidden_NH @ weight_VH.t()).float().mul_(scale)
    logits[:, max(size - first, 0) :] = -torch.inf
    return logits


def local_rows(targets_N: Tensor, first: int, rows: int) -> tuple[Tensor, Tensor]:
    """Row of this rank for each target, and whether it has it."""
    local = targets_N - first
    return local.clamp(0, rows - 1), (local >= 0) & (local < rows)
