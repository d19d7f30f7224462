"""Completions by the in-framework engine; prints one JSON line: of each prompt the tokens, log-probabilities, end.

usage: generation_worker.py NEMO_FOLDER TENSOR PIPELINE SEQUENCE_PARALLEL
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

PROMPTS = [[5, 6, 7], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], [100], [42, 43, 44, 45, 46]]
NEW, END, TOKENS = 24, 11, 1003
ASKED = {"greedy": {"temperature": 0.0}, "sampled": {"samples": 3, "top_p": 0.9, "temperature": 0.7}}


def main(folder: Path, tensor: int, pipeline: int, sequence_parallel: bool) -> None:
    from nemo_hs2pref.runtime.platform import machine

    machine.prepare()
    import torch

    from nemo_hs2pref.algorithms.generation import complete
    from nemo_hs2pref.checkpoint.opening import read_config
    from nemo_hs2pref.data.completions import Ends, Sampling, TokenPrompt
    from nemo_hs2pref.generation.loop import batches
    from nemo_hs2pref.models.policy.decoding import decoding
    from nemo_hs2pref.runtime.run.inference import Layout, load_policy

    layout = Layout(tensor, pipeline, sequence_parallel)
    model = load_policy(folder, read_config(folder), layout, precision="32")
    (stage,) = model.get_model_module_list()

    prompts = [TokenPrompt(str(number), tokens) for number, tokens in enumerate(PROMPTS)]
    found: dict[str, Any] = {}
    for name, asked in ASKED.items():
        for places in (10_000, 1):  # all prompts together, each alone
            sampling = Sampling(NEW, **asked)
            of_prompt: dict[str, Any] = {}
            for batch in batches(prompts, sampling, places):
                with decoding(stage) as decoder:
                    of_batch = complete(decoder, batch, sampling, Ends(frozenset({END})), TOKENS)
                for prompt, samples in zip(batch, of_batch, strict=True):
                    of_prompt[prompt.id] = [[s.tokens, s.log_probs, s.is_finished] for s in samples]
            found[f"{name} {places}"] = of_prompt
    gathered = [found]
    if torch.distributed.is_initialized():
        gathered = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(gathered, found)
    found["equal_on_all_ranks"] = all(other == gathered[0] for other in gathered)
    if int(os.environ.get("RANK", 0)) == 0:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    folder, tensor, pipeline, sequence_parallel = sys.argv[1:]
    main(Path(folder), int(tensor), int(pipeline), sequence_parallel == "yes")
