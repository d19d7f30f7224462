"""Stock NeMo-Aligner 0.7.0 trains a reward model and saves it as it does; our model then scores what it saved.

usage: aligner_worker.py BASE ROWS OUT
For each KIND of KINDS writes OUT/KIND.nemo, Aligner's archive, and OUT/KIND.json: the losses of its steps, and its
outputs for every row, stock and ours, from the archive and from its unpacked folder.
"""

import json
import sys
import tarfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

STEPS, LENGTH = 3, 1000
KINDS = {
    "regression": {"reward_model_type": "regression", "regression": {"num_attributes": 9, "merge_attributes": False}},
    "binary_ranking": {"reward_model_type": "binary_ranking", "force_head_dtype": "bfloat16"},
}


def main(base: Path, rows: Path, out: Path) -> None:
    from nemo_hs2pref.data.records import read_rows
    from nemo_hs2pref.runtime.platform import machine

    machine.prepare()
    conversations = read_rows(rows)
    for kind in KINDS:
        stock, losses = train_stock(kind, base, conversations, out)
        with tarfile.open(out / f"{kind}.nemo") as archive:
            archive.extractall(out / kind, filter="data")
        (out / kind / "model_weights" / "common.pt").write_bytes(b"a pickle that nobody should load")
        ours = {name: scored(out / name, conversations) for name in (f"{kind}.nemo", kind)}
        (out / f"{kind}.json").write_text(json.dumps({"losses": losses, "stock": stock, **ours}))
    (out / "nemo2.json").write_text(json.dumps(differences_from_nemo2(out)))


def differences_from_nemo2(out: Path) -> dict[str, float]:
    """Of each parameter: the model filled from NeMo 2's layout of the regression model, and from Aligner's archive."""
    from nemo_hs2pref.checkpoint.megatron.weights import load_weights
    from nemo_hs2pref.scoring.nemo import NemoModel

    model = NemoModel(out / "regression.nemo").build()
    (module,) = model.get_model_module_list()
    parameters = [(name, value) for name, value in module.named_parameters() if "rm_head" not in name]
    load_weights(model, out / "nemo2", head=False)
    loaded = [value.detach().clone() for _, value in parameters]
    for _, value in parameters:
        value.data.fill_(float("nan"))
    load_weights(model, out / "regression.nemo", head=False)
    return {name: float((a - b).abs().max()) for (name, a), b in zip(parameters, loaded, strict=True)}


def scored(path: Path, conversations: Any) -> list[dict[str, Any]]:
    from nemo_hs2pref.scoring import open_scorer

    return [score.to_json() for score in open_scorer(path).score(conversations)]


def train_stock(kind: str, base: Path, conversations: Any, out: Path) -> tuple[list[list[float]], list[float]]:
    """[rows, K] outputs after STEPS optimizer steps from the weights of `base`, and the losses of these."""
    import torch
    from megatron.core import dist_checkpointing
    from megatron.core.models.gpt import gpt_layer_specs
    from megatron.core.transformer.dot_product_attention import DotProductAttention
    from nemo.collections.nlp.parts.megatron_trainer_builder import MegatronTrainerBuilder
    from nemo_aligner.models.nlp.gpt.megatron_gpt_regression_reward_model import MegatronGPTRegressionRewardModel
    from nemo_aligner.models.nlp.gpt.megatron_gpt_reward_model import MegatronGPTRewardModel
    from nemo_aligner.utils.train_script_utils import init_distributed

    from nemo_hs2pref.checkpoint.layout import WEIGHTS
    from nemo_hs2pref.data.templates import render
    from nemo_hs2pref.runtime.run.build import make_trainable

    cfg = stock_config(kind, base)
    trainer = MegatronTrainerBuilder(cfg).create_trainer()
    stock_class = MegatronGPTRegressionRewardModel if kind == "regression" else MegatronGPTRewardModel
    with patch.object(gpt_layer_specs, "DotProductAttention", DotProductAttention):  # ours takes no mask
        model = stock_class(cfg.model, trainer)
    init_distributed(trainer, model)
    wanted = {
        key: tensor
        for key, tensor in model.sharded_state_dict().items()
        if not key.endswith("_extra_state") and not key.startswith("model.rm_head.")
    }
    loaded = dist_checkpointing.load(wanted, str(base / WEIGHTS))
    (module,) = model.get_model_module_list()
    module.load_state_dict({key.removeprefix("model."): loaded[key] for key in wanted}, strict=False)

    texts = [render(conversation.messages) for conversation in conversations]
    rows = [model.tokenizer.text_to_ids(text) for text in texts]
    trainable, losses = make_trainable(model), []
    for step in range(STEPS):
        model.prepare_for_training_step()
        trainable.optimizer.zero_grad()
        number = 2 if kind == "binary_ranking" else 1
        batch = batch_of(rows[number * step : number * (step + 1)], pairs=number == 2)
        losses.append(float(model.get_loss_and_metrics(batch, forward_only=False)[0]))
        model.finish_training_step()
        trainable.optimizer.step()
        trainable.scheduler.step()
    model.prepare_for_inference()
    with torch.no_grad():
        outputs = [model.infer([text])[0].tolist() for text in texts]
    model.save_to(str(out / f"{kind}.nemo"))
    if kind == "regression":
        save_as_nemo2(module, out / "nemo2" / "weights")
    return outputs, losses


def save_as_nemo2(module: Any, folder: Path) -> None:
    """Megatron-core's own saving under the names of NeMo 2, whose MegatronParallel puts `module.` before all."""
    from megatron.core import dist_checkpointing

    state = module.sharded_state_dict(prefix="module.")
    folder.mkdir(parents=True)
    dist_checkpointing.save({key: value for key, value in state.items() if "rm_head" not in key}, str(folder))


def batch_of(rows: list[list[int]], *, pairs: bool) -> dict[str, Any]:
    """What Aligner's data sets collate: padded rows with made-up labels, or neighbours as chosen and rejected."""
    import torch

    width = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    causal = torch.ones(width, width, dtype=torch.bool).triu(1)
    if pairs:
        number = len(rows) // 2
        sides = {"chosen": tokens[::2], "rejected": tokens[1::2]}
        sides |= {"chosen_length": lengths[::2], "rejected_length": lengths[1::2]}
        mask = causal.expand(2 * number, 1, -1, -1)
    else:
        number = len(rows)
        labels = torch.rand(number, 9, generator=torch.Generator().manual_seed(0)) * 4
        sides = {"inputs": tokens, "lengths": lengths, "labels": labels}
        mask = causal.expand(number, 1, -1, -1)
    return sides | {
        "position_ids": torch.arange(width).expand(number, -1),
        "attention_mask": mask,
        "loss_mask": torch.ones(number, width),
    }


def stock_config(kind: str, base: Path) -> Any:
    """Aligner's configuration of the run: NeMo's for the base model, without any key of ours."""
    from omegaconf import OmegaConf

    from nemo_hs2pref.checkpoint.opening import read_config
    from nemo_hs2pref.recipes.rm import load_reward_model_config
    from nemo_hs2pref.runtime.run import nemo_config

    config, _ = load_reward_model_config(
        [
            *("model=llama_tiny", f"model.encoder_seq_length={LENGTH}", "model.optim.lr=1e-3", "data.dir=none"),
            *("model.optim.sched.warmup_steps=0", "exp_manager.explicit_log_dir=none"),
            f"pretrained_checkpoint.restore_from_path={base}",
        ],
    )
    model = nemo_config.model_config(config, read_config(base), max_steps=STEPS)
    batch = {"micro_batch_size": 1, "global_batch_size": 1}  # the same as scoring's, or NeMo refuses a second model
    with_aligners = batch | {"activations_checkpoint_layers_per_pipeline": None} | KINDS[kind]
    ours = ("head", "hugging_face", "regression", "reward_model_type", "force_head_dtype")
    kept = {key: value for key, value in OmegaConf.to_container(model).items() if key not in ours}
    trainer = nemo_config.trainer_config(config, STEPS)
    return OmegaConf.create(
        {"trainer": trainer, "model": kept | with_aligners, "exp_manager": {"log_tflops_per_sec_per_gpu": False}}
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
