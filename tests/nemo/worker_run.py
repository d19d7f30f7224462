"""What the workers of layouts and of LoRA start with: llama_tiny under scaled Bradley-Terry, ready to take steps."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple


class WorkerRun(NamedTuple):
    items: list[Any]  # the quickest pairs to compute
    trainable: Any  # models.trainable.Trainable
    objective: Any  # objectives.reward.RewardObjective
    batcher: Any  # runtime.run.batching.Batcher

    def make_batch(self, step: int) -> Any:
        """What makes the four pairs of a step."""
        return partial(self.batcher, self.items, range(4 * step, 4 * step + 4))

    def train(self, steps: range) -> list[float]:
        """The losses of these steps, as training takes them."""
        from nemo_hs2pref.algorithms.step import train_step

        def loss(step: int) -> float:
            return train_step(self.trainable, self.objective, self.make_batch(step), step, flags=dict)[0]["loss"]

        return [loss(step) for step in steps]


def start(base: Path, data: Path, out: Path, *overrides: str, num_items: int, max_steps: int) -> WorkerRun:
    """Weights of `base`, a fresh head, the optimizer; imports NeMo."""
    from nemo_hs2pref.checkpoint.opening import read_config
    from nemo_hs2pref.recipes.rm import RECIPE, load_reward_model_config

    config, _ = load_reward_model_config(
        [
            *("model=llama_tiny", "loss=scaled_bt", "model.optim.lr=1e-3", "model.global_batch_size=4"),
            *("model.optim.sched.warmup_steps=2", "model.encoder_seq_length=1000", "data.shuffle=false"),
            *(f"data.dir={data}", f"exp_manager.explicit_log_dir={out}"),
            f"pretrained_checkpoint.restore_from_path={base}",
            *overrides,
        ],
    )
    checkpoint = read_config(base)
    RECIPE.check(config, checkpoint)

    from nemo_hs2pref.runtime.platform import machine

    machine.prepare()
    from nemo_hs2pref.checkpoint.megatron.weights import load_weights
    from nemo_hs2pref.data.batches.rewards import collate
    from nemo_hs2pref.recipes.rm_training import objective_of, read_items
    from nemo_hs2pref.runtime.run.batching import Batcher, sequence_multiple
    from nemo_hs2pref.runtime.run.build import build_reward_model, make_trainable

    items, _ = read_items(config)
    model = build_reward_model(config, checkpoint, max_steps=max_steps)
    load_weights(model, base, head=False)
    batcher = Batcher(config, collate, multiple_of=sequence_multiple(config))
    shortest = sorted(items, key=lambda item: item.width)[:num_items]
    return WorkerRun(shortest, make_trainable(model), objective_of(config), batcher)
