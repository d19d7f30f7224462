"""The loop over prompts. Every rank calls it together.

batches of like length -> this copy's share -> what a journal has -> complete -> gather
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from nemo_hs2pref.data.completions import Ends, Sampling, TokenPrompt
from nemo_hs2pref.generation.policy import Policy
from nemo_hs2pref.generation.requests import Response, decoded, response_of
from nemo_hs2pref.runtime.platform import machine
from nemo_hs2pref.runtime.process import slurm_step
from nemo_hs2pref.scoring.batches import key_of as key_of_tokens
from nemo_hs2pref.scoring.journal import Journal
from nemo_hs2pref.scoring.loop import from_first_rank, gather
from nemo_hs2pref.scoring.progress import Progress

PLACES_A_BATCH = {"cpu": 16_384, "cuda": 262_144}  # of the cache, all samples together [ours]

Responses = dict[str, list[Response]]  # prompt's id -> its samples


def generate(
    policy: Policy,
    prompts: Sequence[TokenPrompt],
    sampling: Sampling,
    ends: Ends,
    journal: Journal,
) -> Responses:
    """The samples of all prompts, on every rank. A sample depends on seed, prompt and number alone, not on the batch.

    journal: keeps every batch that is done, and has those of an earlier start.
    """
    kept = from_first_rank(journal.read)
    known: Responses = {
        prompt.id: [Response(**fields) for fields in kept[key_of(prompt)]]
        for prompt in prompts
        if key_of(prompt) in kept
    }
    if known and slurm_step.is_first(os.environ):
        print(f"{len(known):,} of {len(prompts):,} prompts were answered before", flush=True)
    # batches of all prompts, so that the rest is computed as it would have been
    every = batches(prompts, sampling, PLACES_A_BATCH[machine.device().type])
    todo = [left for batch in every if (left := [prompt for prompt in batch if prompt.id not in known])]
    if not todo:
        return known
    replica = policy.load()
    mine = todo[replica.index :: replica.count]
    sizes = [extent(batch, sampling) for batch in mine]
    progress = Progress(
        sum(rows for rows, _ in sizes),
        sum(tokens for _, tokens in sizes),
        total_rows=sum(extent(batch, sampling)[0] for batch in todo),
        doing="generating",
    )
    computed: Responses = {}
    for batch in mine:
        completions = policy.complete(batch, sampling, ends)
        if replica.is_leader:
            of_batch = {
                prompt.id: [response_of(each, ends, lambda ids: decoded(ids, policy.tokenizer)) for each in samples]
                for prompt, samples in zip(batch, completions, strict=True)
            }
            journal.append(
                replica.index,
                [key_of(prompt) for prompt in batch],
                [[asdict(each) for each in of_batch[prompt.id]] for prompt in batch],
            )
            computed |= of_batch
        progress.update(*extent(batch, sampling))
    progress.close()
    return known | gather(computed)


def key_of(prompt: TokenPrompt) -> str:
    """Of id and tokens: the random numbers depend on the one, and what they choose from on the other."""
    return f"{key_of_tokens(prompt.tokens)} {prompt.id}"


def extent(batch: Sequence[TokenPrompt], sampling: Sampling) -> tuple[int, int]:
    """Responses, and tokens that are computed for them if none ends early."""
    rows = len(batch) * sampling.samples
    return rows, sum(len(prompt.tokens) for prompt in batch) + rows * sampling.max_new_tokens


def batches(prompts: Sequence[TokenPrompt], sampling: Sampling, places: int) -> Iterator[list[TokenPrompt]]:
    """Prompts of like length, the longest first, so many together that their caches have at most `places` places."""
    batch: list[TokenPrompt] = []
    for prompt in sorted(prompts, key=lambda prompt: (-len(prompt.tokens), prompt.id)):
        longest = len(batch[0].tokens if batch else prompt.tokens) + sampling.max_new_tokens
        if batch and (len(batch) + 1) * sampling.samples * longest > places:
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch
