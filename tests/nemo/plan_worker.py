"""What the real model holds on each of four ranks, layout after layout in one launch; for test_plan.py.

usage: torchrun ... plan_worker.py NEMO_FOLDER OUT LAYOUTS      (JSON: name -> overrides)

Writes OUT/rank<N>.json: place in the layout, parameters, buffers, optimizer state, and the largest sum of tensors
that autograd held for backward during one optimizer step.
"""

import json
import sys
from pathlib import Path
from typing import Any

from nemo_hs2pref.cli.processes import end_now


class Held:
    """Counts the storages that autograd keeps, each once, from when it is saved until the graph lets go."""

    def __init__(self, not_counted: set[int]) -> None:
        self.users: dict[int, int] = {}
        self.not_counted, self.now, self.peak = not_counted, 0, 0

    def pack(self, tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        return tensor if storage.data_ptr() in self.not_counted else Saved(self, tensor, storage.nbytes())


class Saved:
    def __init__(self, held: Held, tensor: Any, size: int) -> None:
        self.held, self.tensor, self.size, self.key = held, tensor, size, tensor.untyped_storage().data_ptr()
        held.users[self.key] = held.users.get(self.key, 0) + 1
        held.now += size if held.users[self.key] == 1 else 0
        held.peak = max(held.peak, held.now)

    def __del__(self) -> None:
        self.held.users[self.key] -= 1
        self.held.now -= 0 if self.held.users[self.key] else self.size


def unpack(saved: Any) -> Any:
    return saved.tensor if isinstance(saved, Saved) else saved


def main(base: Path, out: Path, layouts: dict[str, list[str]]) -> None:
    from nemo_hs2pref.runtime.platform import machine

    machine.prepare()
    import torch

    facts = {name: measured(base, overrides) for name, overrides in layouts.items()}
    (out / f"rank{torch.distributed.get_rank()}.json").write_text(json.dumps(facts))


def measured(base: Path, overrides: list[str]) -> dict[str, Any]:
    """One optimizer step on rows of model.encoder_seq_length tokens."""
    import torch
    from megatron.core import parallel_state

    from nemo_hs2pref.algorithms.step import train_step
    from nemo_hs2pref.checkpoint.opening import read_config
    from nemo_hs2pref.recipes.rm import load_reward_model_config
    from nemo_hs2pref.recipes.rm_training import objective_of
    from nemo_hs2pref.runtime.run.build import build_reward_model, make_trainable

    forget_layout()
    config, _ = load_reward_model_config(overrides)
    model = build_reward_model(config, read_config(base), max_steps=2)
    trainable = make_trainable(model)
    buffers = [buffer for ddp in model.model for buffer in ddp.buffers]
    own = [*(p.data for p in model.parameters()), *(buffer.param_data for buffer in buffers)]
    held = Held({tensor.untyped_storage().data_ptr() for tensor in own})
    with torch.autograd.graph.saved_tensors_hooks(held.pack, unpack):
        train_step(trainable, objective_of(config), lambda: longest_rows(config), 0, flags=dict)
    return {
        "stage": parallel_state.get_pipeline_model_parallel_rank(),
        "data": parallel_state.get_data_parallel_rank(),
        "tensor": parallel_state.get_tensor_model_parallel_rank(),
        "parameters": [[p.numel(), p.requires_grad] for p in model.parameters()],
        "gradient_bytes": sum(buffer.grad_data.nbytes for buffer in buffers),
        "weight_bytes": sum(buffer.param_data.nbytes for buffer in buffers)
        + sum(p.nbytes for p in model.parameters() if not p.requires_grad),
        "optimizer_bytes": optimizer_bytes(trainable.optimizer.mcore_optimizer),
        "activation_bytes": held.peak,
    }


def forget_layout() -> None:
    """Megatron's process groups and calculators are globals, of which destroy_model_parallel leaves two."""
    from megatron.core import parallel_state
    from megatron.core.num_microbatches_calculator import destroy_num_microbatches_calculator

    if parallel_state.is_initialized():
        parallel_state.destroy_model_parallel()
        parallel_state._EMBEDDING_GLOBAL_RANKS = parallel_state._POSITION_EMBEDDING_GLOBAL_RANKS = None
        destroy_num_microbatches_calculator()


def longest_rows(config: Any) -> list[Any]:
    """This rank's micro batches of pairs, every row as long as it may be."""
    from megatron.core import parallel_state

    from nemo_hs2pref.data.batches.rewards import PairItem, ResponseItem, collate
    from nemo_hs2pref.runtime.platform import machine

    row = ResponseItem([1] * config.model.encoder_seq_length, [0.0] * len(config.head.attributes), characters=1)
    micro = [PairItem(row, row, strength=1)] * config.model.micro_batch_size
    count = config.model.global_batch_size // len(micro) // parallel_state.get_data_parallel_world_size()
    packed = config.data.packed_sequence
    return [collate(micro, multiple_of=1, device=machine.device(), packed=packed) for _ in range(count)]


def optimizer_bytes(optimizer: Any) -> int:
    """Float32 copies of 16-bit parameters and AdamW's moments."""
    total = 0
    for part in getattr(optimizer, "chained_optimizers", [optimizer]):
        moments = [state[name] for state in part.optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
        main = [p for group in part.shard_fp32_from_float16_groups for p in group]
        total += sum(tensor.nbytes for tensor in [*moments, *main])
    return total


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
    end_now(0)  # as a rank of the command line does
