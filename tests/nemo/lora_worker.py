"""One layout's part of the comparison in test_lora.py; started once a process, by torchrun where there are two.

usage: lora_worker.py BASE DATA ADAPTERS OUT OVERRIDE...    writes OUT: losses, rewards of ADAPTERS, what is trained
"""

import json
import sys
from pathlib import Path


def main(base: Path, data: Path, adapters: Path, out: Path, overrides: list[str]) -> None:
    from nemo_hs2pref.checkpoint.layout import read_config
    from nemo_hs2pref.config.check import check
    from nemo_hs2pref.config.load import load_reward_model_config

    config, _ = load_reward_model_config(
        "train_rm",
        [
            *("model=llama_tiny", "peft=lora", "loss=scaled_bt", "model.optim.lr=1e-3", "model.global_batch_size=4"),
            *("model.peft.lora_tuning.adapter_dim=16", "model.peft.lora_tuning.alpha=24"),
            *("model.optim.sched.warmup_steps=2", "model.encoder_seq_length=1000", "data.shuffle=false"),
            *(f"data.dir={data}", f"exp_manager.explicit_log_dir={out}"),
            f"pretrained_checkpoint.restore_from_path={base}",
            *overrides,
        ],
    )
    checkpoint = read_config(base)
    check(config, checkpoint)

    from nemo_hs2pref.runtime import machine

    machine.prepare()
    import torch
    from megatron.core import parallel_state

    from nemo_hs2pref.checkpoint.weights import load_adapters, load_weights
    from nemo_hs2pref.runtime.build import build_reward_model, make_trainable
    from nemo_hs2pref.runtime.rm_data import Batcher, read_items, sequence_multiple
    from nemo_hs2pref.runtime.rm_objective import objective_of

    items, _ = read_items(config)
    items = sorted(items, key=lambda item: item.width)[:20]  # the quickest
    model = build_reward_model(config, checkpoint, max_steps=5)
    model.objective = objective_of(config)
    load_weights(model, base, head=False)
    trainable = make_trainable(model)
    batcher = Batcher(config, multiple_of=sequence_multiple(config))
    before = {name: parameter.detach().clone() for name, parameter in model.model[0].module.named_parameters()}

    losses = []
    for step in range(5):
        model.prepare_for_training_step()
        loss, _ = model.get_loss_and_metrics(batcher(items, range(4 * step, 4 * step + 4)), forward_only=False)
        model.finish_training_step()
        trainable.optimizer.step()
        trainable.scheduler.step()
        losses.append(loss)
    changed = [n for n, p in model.model[0].module.named_parameters() if not torch.equal(p, before[n])]
    in_optimizer = sum(p.numel() for group in trainable.optimizer.param_groups for p in group["params"])

    load_adapters(model, adapters)
    rewards: list = []
    model.prepare_for_validation_step()
    with torch.no_grad():
        for attributes in model.score(batcher(items, range(16))):
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
