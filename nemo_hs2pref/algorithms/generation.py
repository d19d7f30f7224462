"""Completions of prompts by a policy in this process: batches of prompts, a token a step until every row has ended."""

import hashlib
from collections.abc import Sequence

import torch
from megatron.core import parallel_state, tensor_parallel
from torch import Tensor

from nemo_hs2pref.data.completions import Completion, Ends, Sampling, TokenPrompt
from nemo_hs2pref.functional.sampling import draw_tokens
from nemo_hs2pref.models.policy.decoding import Decoder


def complete(
    decoder: Decoder, prompts: Sequence[TokenPrompt], sampling: Sampling, ends: Ends, num_tokens: int
) -> list[list[Completion]]:
    """The samples of each prompt; every rank of a copy of the model calls it and gets them.

    A prompt is computed once for all of its samples, and a row leaves the batch when it has ended.

    num_tokens: of the vocabulary, without the padding of the output layer.
    """
    completions = [[Completion() for _ in range(sampling.samples)] for _ in prompts]
    rows = [completion for of_prompt in completions for completion in of_prompt]
    uniform = torch.stack(
        [numbers_of(prompt, sample, sampling) for prompt in prompts for sample in range(sampling.samples)]
    )
    logits = decoder.begin([prompt.tokens for prompt in prompts], sampling.max_new_tokens - 1)
    if sampling.samples > 1:
        places = [place for place in range(len(prompts)) for _ in range(sampling.samples)]
        decoder.keep(places)
        logits = logits if logits is None else logits[places]
    for step in range(sampling.max_new_tokens):
        tokens, log_probs = next_tokens(logits, uniform[:, step], sampling, num_tokens, decoder.device)
        stay: list[int] = []
        for place, (row, token, log_prob) in enumerate(zip(rows, tokens.tolist(), log_probs.tolist(), strict=True)):
            row.tokens.append(token)
            row.log_probs.append(log_prob)
            row.is_finished = ends.is_reached(row.tokens)
            if not row.is_finished:
                stay.append(place)
        if not stay or step + 1 == sampling.max_new_tokens:
            break
        if len(stay) < len(rows):
            decoder.keep(stay)
            rows, tokens, uniform = [rows[place] for place in stay], tokens[stay], uniform[stay]
        logits = decoder.step(tokens)
    return completions


def numbers_of(prompt: TokenPrompt, sample: int, sampling: Sampling) -> Tensor:
    """[max_new_tokens] float64 from 0 to 1: a function of the seed, the prompt's id and the number of the sample."""
    words = f"{sampling.seed}/{sample}/{prompt.id}".encode()
    seed = int.from_bytes(hashlib.blake2b(words, digest_size=7).digest(), "big")
    return torch.rand(sampling.max_new_tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def next_tokens(
    logits: Tensor | None, uniform: Tensor, sampling: Sampling, num_tokens: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """[B] tokens and [B] log-probabilities, on every rank those that one of the last stage has drawn."""
    if logits is not None:
        whole = tensor_parallel.gather_from_tensor_model_parallel_region(logits)[:, :num_tokens]
        tokens, log_probs = draw_tokens(whole, uniform.to(device), sampling.temperature, sampling.top_p)
        drawn = torch.stack([tokens.double(), log_probs.double()])
    else:
        drawn = torch.empty(2, len(uniform), dtype=torch.float64, device=device)
    if (
        parallel_state.get_tensor_model_parallel_world_size() * parallel_state.get_pipeline_model_parallel_world_size()
        > 1
    ):
        group = parallel_state.get_model_parallel_group()
        ranks = torch.distributed.get_process_group_ranks(group)
        speaker = sorted(ranks)[-parallel_state.get_tensor_model_parallel_world_size()]  # of the last stage the first
        torch.distributed.broadcast(drawn, speaker, group=group)
    return drawn[0].long(), drawn[1]
