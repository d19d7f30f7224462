"""The three places in which megatron-core's layout of a Llama differs from Hugging Face's.

The queries, keys and values of a group lie together in one matrix there, the gate and up projections are one matrix,
and the vocabulary is padded. Everything else is a renaming (to_mcore, from_mcore). Shapes use V (vocabulary),
H (hidden), Q (heads), G (key/value groups) and D (head dimension).
"""

import torch
from torch import Tensor

VOCAB_MULTIPLE = 128  # NeMo's make_vocab_size_divisible_by


def group_qkv(query: Tensor, key: Tensor, value: Tensor, *, groups: int) -> Tensor:
    """[Q*D, H], [G*D, H], [G*D, H] -> [(Q + 2G)*D, H], ordered by group: its queries, its key, its value.

    So a tensor-parallel rank, which gets consecutive rows, gets whole groups.
    """
    grouped = [rows.view(groups, -1, query.shape[-1]) for rows in (query, key, value)]
    return torch.cat(grouped, dim=1).view(-1, query.shape[-1])


def ungroup_qkv(grouped: Tensor, *, groups: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """[(Q + 2G)*D, H] -> [Q*D, H], [G*D, H], [G*D, H]; the inverse of group_qkv. size: D."""
    hidden = grouped.shape[-1]
    heads = grouped.view(groups, -1, size, hidden)
    query, key, value = heads[:, :-2], heads[:, -2], heads[:, -1]
    return query.reshape(-1, hidden), key.reshape(-1, hidden), value.reshape(-1, hidden)


def padded_vocabulary(size: int) -> int:
    """The next multiple of VOCAB_MULTIPLE."""
    return -(-size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE


def pad_vocabulary(embedding: Tensor) -> Tensor:
    """[V, H] -> [V padded, H], with rows of zeros."""
    rows = padded_vocabulary(len(embedding)) - len(embedding)
    return torch.nn.functional.pad(embedding, (0, 0, 0, rows)) if rows else embedding
