"""One layout's part of the comparison in test_lora_runs.py; started once a process, by torchrun where there are two.

usage: lora_worker.py BASE DATA ADAPTERS OUT OVERRIDE...    writes OUT: losses, rewards of ADAPTERS, what is trained
"""

import json
import sys
from pathlib import Path

from worker_run import start

from nemo_hs2pref.cli.processes import end_now


def main(base: Path, data: Path, adapters: Path, out: Path, overrides: list[str]) -> None:
    lora = ("peft=lora", "model.peft.lora_tuning.adapter_dim=16", "model.peft.lora_tuning.alpha=24")
    run = start(base, data, out, *lora, *overrides, num_items=20, max_steps=5)
    model = run.trainable.model

    import torch
    from megatron.core import parallel_state

    from nemo_hs2pref.checkpoint.megatron.weights import load_adapters

    before = {name: parameter.detach().clone() for name, parameter in model.model[0].module.named_parameters()}

    losses = run.train(range(5))
    changed = [n for n, p in model.model[0].module.named_parameters() if not torch.equal(p, before[n])]
    in_optimizer = sum(p.numel() for group in run.trainable.optimizer.param_groups for p in group["params"])

    load_adapters(model, adapters)
    rewards: list = []
    model.prepare_for_validation_step()
    for attributes in model.outputs(run.batcher(run.items, range(16))):
        rewards += attributes.tolist()
    gathered: list = [None] * torch.distributed.get_world_size()
    speaks = parallel_state.is_pipeline_last_stage() and parallel_state.get_tensor_model_parallel_rank() == 0
    torch.distributed.all_gather_object(gathered, rewards if speaks else [])
    if torch.distributed.get_rank() == 0:
        result = {
            "losses": losses,
            "rewards": [row for part in gathered for row in part],
            "changed": changed,
            "unchanged": sorted(before.keys() - set(changed)),
            "in_optimizer": in_optimizer,
        }
        out.write_text(json.dumps(result))


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:5]), overrides=sys.argv[5:])
    end_now(0)  # as a rank of the command line does
