"""One layout's part of the comparison in test_layouts.py; started once a process, by torchrun where there are two.

Writes into OUT: gradients/ (torch_dist, of the first step, whole tensors by name), result.json (losses, rewards),
and as the canonical layout resume/ (a resume state after five steps).
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from worker_run import start

from nemo_hs2pref.cli.processes import end_now


def main(base: Path, data: Path, canonical: Path, out: Path, overrides: list[str]) -> None:
    run = start(base, data, out, *overrides, num_items=40, max_steps=10)
    trainable, model = run.trainable, run.trainable.model

    import torch
    from megatron.core import dist_checkpointing, parallel_state

    from nemo_hs2pref.algorithms.step import backward, train_step
    from nemo_hs2pref.checkpoint.layout import TRAINING_STATE, WEIGHTS
    from nemo_hs2pref.checkpoint.megatron.training_state import load_training_state, save_training_state
    from nemo_hs2pref.checkpoint.megatron.weights import load_weights, save_weights
    from nemo_hs2pref.checkpoint.train_state import TrainState
    from nemo_hs2pref.errors import DataError, TrainingError

    rank = torch.distributed.get_rank()

    def folder(name: str) -> Path:
        if rank == 0:
            (out / name).mkdir(parents=True)
        torch.distributed.barrier()
        return out / name

    def whole_gradients() -> dict:
        """The sharded state dict of the model with each parameter's gradient in its place."""
        for ddp in model.model:
            for buffer in ddp.buffers:
                for bucket in buffer.buckets:  # the distributed optimizer leaves each rank its shard
                    group = buffer.data_parallel_group
                    mine = bucket.grad_data.chunk(group.size())[group.rank()].clone()
                    torch.distributed.all_gather(list(bucket.grad_data.chunk(group.size())), mine, group=group)
        state = model.sharded_state_dict()
        parameters = {id(p): p for p in model.parameters()}
        found = {}
        for key, entry in state.items():
            parameter = parameters.get(id(getattr(entry, "data", None)))
            if parameter is not None:
                entry.data = parameter.main_grad
                found[key] = entry
        assert len(found) == len(parameters)
        return found

    backward(model, run.objective, run.make_batch(0))
    dist_checkpointing.save(whole_gradients(), str(folder("gradients")))

    rewards: list = []
    for attributes in model.outputs(run.batcher(run.items, range(16))):
        rewards += attributes.tolist()
    gathered: list = [None] * torch.distributed.get_world_size()
    speaks = parallel_state.is_pipeline_last_stage() and parallel_state.get_tensor_model_parallel_rank() == 0
    torch.distributed.all_gather_object(gathered, rewards if speaks else [])

    losses = run.train(range(5))
    if out == canonical:
        (folder("resume") / WEIGHTS).mkdir()
        (out / "resume" / TRAINING_STATE).mkdir()
        save_weights(model, out / "resume")
        save_training_state(
            model, trainable.optimizer, trainable.scheduler, TrainState(step=5, items=20), out / "resume"
        )
    losses += run.train(range(5, 10))

    load_weights(model, canonical / "resume", head=True)
    progress = load_training_state(model, trainable.optimizer, trainable.scheduler, canonical / "resume")
    resumed = run.train(range(progress.step, 10))

    # a rank that cannot build its batch stops all of them in the same moment
    def make_or_fail() -> list:
        if rank == torch.distributed.get_world_size() - 1:
            raise DataError("row 7 is broken")
        return run.make_batch(0)()

    try:
        train_step(trainable, run.objective, make_or_fail, 10, flags=dict)
        stopped = "nothing"
    except (DataError, TrainingError) as error:
        stopped = str(error)
    reasons: list = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(reasons, stopped)

    def refused(name: str, objective: Any = run.objective) -> None:
        try:
            train_step(trainable, objective, run.make_batch(0), 10, flags=dict)
        except TrainingError as error:
            not_finite[name] = str(error)

    # a rate, a loss and a weight that are not finite; the weight is on one rank alone
    not_finite: dict[str, Any] = {}
    before = [weight.detach().clone() for weight in model.parameters()]
    groups, rates = trainable.optimizer.param_groups, [group["lr"] for group in trainable.optimizer.param_groups]
    for group in groups:
        group["lr"] = float("inf")
    refused("rate")
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    refused("loss", replace(run.objective, weights={"scaled_bt": float("inf")}))
    not_finite["unchanged"] = all(torch.equal(*both) for both in zip(before, model.parameters(), strict=True))
    if rank == 0:
        next(model.parameters()).data.fill_(float("nan"))
    refused("weight")

    if rank == 0:
        result = {
            "not_finite": not_finite,
            "stopped": reasons,
            "rewards": [row for part in gathered for row in part],
            "losses": losses,
            "resumed": resumed,
            "parameters": [name for name, _ in model.model[0].named_parameters()],
        }
        (out / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    paths = [Path(word) for word in sys.argv[1:5]]
    main(*paths, overrides=sys.argv[5:])
    end_now(0)  # as a rank of the command line does
