"""Which rows are computed together, and by which rank: a function of the rows alone, so that it is the same on
every rank and after a restart. Whoever computes it, a row stands in the same batch and gets the same bits."""

import hashlib
from array import array
from collections.abc import Mapping, Sequence

Key = str  # of a row of tokens
TOKENS_A_BATCH = {"cpu": 4096, "cuda": 16384}  # padded; one longer row is a batch of its own [ours]
# Toward the end batches get smaller, down to a quarter, so that the ranks end together: what they wait for each other
# is at most the last batch.
SMALLEST, PARTS_OF_THE_REST = 4, 32

Rows = Mapping[Key, Sequence[int]]


def key_of(tokens: Sequence[int]) -> Key:
    """Equal for equal rows: they are computed once, and found again after a restart."""
    return hashlib.blake2b(array("q", tokens).tobytes(), digest_size=16).hexdigest()


def batches_by_tokens(rows: Rows, tokens_a_batch: int) -> list[list[Key]]:
    """The longest rows first, so that a run that needs too much memory stops at once, and little is padded."""
    batches: list[list[Key]] = []
    width, budget, rest = 0, 0, sum(map(len, rows.values()))
    for key in sorted(rows, key=lambda key: (-len(rows[key]), key)):
        if not batches or (len(batches[-1]) + 1) * width > budget:
            batches.append([])
            width = len(rows[key])
            budget = min(tokens_a_batch, max(tokens_a_batch // SMALLEST, rest // PARTS_OF_THE_REST))
        batches[-1].append(key)
        rest -= len(rows[key])
    return batches


def without(known: Mapping[Key, object], batches: Sequence[Sequence[Key]]) -> list[list[Key]]:
    """What is left of the batches."""
    return [left for batch in batches if (left := [key for key in batch if key not in known])]


def deal(batches: Sequence[list[Key]], rows: Rows, num_ranks: int) -> list[list[list[Key]]]:
    """The batches of every rank: each goes to the rank that has the fewest tokens, padding counted, so far."""
    shares: list[list[list[Key]]] = [[] for _ in range(num_ranks)]
    tokens = [0] * num_ranks
    for batch in batches:
        rank = tokens.index(min(tokens))
        shares[rank].append(batch)
        tokens[rank] += len(batch) * max(len(rows[key]) for key in batch)
    return shares
