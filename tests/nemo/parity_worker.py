"""Largest differences between transformers and the converted checkpoint, in float32; prints one JSON line a model.

usage: parity_worker.py HF_SOURCE NEMO_FOLDER [HF_SOURCE NEMO_FOLDER ...]
For each: logits of NeMo's own MegatronGPTModel, and final hidden states of our reward model.
"""

import json
import sys
from pathlib import Path

LENGTH = 400
CUTS = (0, 1, 57, 150, 399)  # tokens left out at the end: the hidden state is compared at each of these ends
SAMPLE = Path(__file__).parents[2] / "nemo_hs2pref" / "data" / "sample" / "train.jsonl"


def main(pairs: list[tuple[str, Path]]) -> None:
    from nemo_hs2pref.runtime.platform import machine

    machine.prepare()
    import torch
    from megatron.core import dist_checkpointing
    from nemo.collections.nlp.models.language_modeling.megatron_gpt_model import MegatronGPTModel
    from nemo.collections.nlp.parts.megatron_trainer_builder import MegatronTrainerBuilder
    from omegaconf import OmegaConf
    from transformers import AutoModelForCausalLM

    from nemo_hs2pref.checkpoint.hugging_face.source import open_source
    from nemo_hs2pref.checkpoint.layout import WEIGHTS
    from nemo_hs2pref.checkpoint.megatron.weights import load_weights
    from nemo_hs2pref.checkpoint.opening import read_config
    from nemo_hs2pref.data.batches.tokens import token_batch
    from nemo_hs2pref.recipes.rm import load_reward_model_config
    from nemo_hs2pref.runtime.run import nemo_config
    from nemo_hs2pref.runtime.run.build import build_reward_model
    from nemo_hs2pref.scoring.nemo import Rows

    for source, folder in pairs:
        checkpoint = read_config(folder)
        config, _ = load_reward_model_config(
            [
                *("parallel=single", "model.megatron_amp_O2=false", "model.encoder_seq_length=512", "data.dir=none"),
                *(f"model.{key}=null" for key in ("num_layers", "hidden_size", "num_attention_heads")),
                *("model.num_query_groups=null", "exp_manager.explicit_log_dir=none"),
                f"pretrained_checkpoint.restore_from_path={folder}",
            ],
        )
        opened = open_source(source)
        torch.manual_seed(0)
        tokens = torch.randint(0, checkpoint["vocab_size"], (2, LENGTH))
        if len(opened.tokenizer) > 10_000:  # a trained model: random tokens drive it to logits beyond 30
            text = opened.tokenizer(SAMPLE.read_text())["input_ids"]
            tokens = torch.tensor([text[:LENGTH], text[LENGTH : 2 * LENGTH]])
        reference = AutoModelForCausalLM.from_config(opened.config)
        reference.load_state_dict({name: opened.tensor(name) for name in opened.tensor_names}, strict=False)
        reference.tie_weights()
        with torch.no_grad():
            expected = reference.eval()(tokens, output_hidden_states=True)

        model = build_reward_model(config, checkpoint, max_steps=1)
        load_weights(model, folder, head=False)
        (module,) = model.get_model_module_list()
        outputs: list = []
        hook = module.eval().decoder.register_forward_hook(lambda _, __, output, keep=outputs: keep.append(output))
        with torch.no_grad():
            rows = [row[: LENGTH - cut] for row in tokens.tolist() for cut in CUTS]
            module(Rows(token_batch(rows, multiple_of=1, device=machine.device())))
        hook.remove()
        last = outputs[0].squeeze(0).view(2, len(CUTS), -1)  # the last layer gives the last token of each row
        hidden = torch.stack([expected.hidden_states[-1][:, LENGTH - cut - 1] for cut in CUTS], dim=1)

        model_cfg = nemo_config.model_config(config, checkpoint, max_steps=1)
        model_cfg.share_embeddings_and_output_weights = checkpoint["share_embeddings_and_output_weights"]
        model_cfg.optim = {"name": "adamw", "lr": 1e-3}
        cfg = OmegaConf.create({"trainer": nemo_config.trainer_config(config, 1), "model": model_cfg})
        language = MegatronGPTModel(cfg.model, MegatronTrainerBuilder(cfg).create_trainer())
        wanted = language.sharded_state_dict()
        loaded = dist_checkpointing.load(wanted, str(folder / WEIGHTS))
        language.model.load_state_dict({key.removeprefix("model."): loaded[key] for key in wanted})
        with torch.no_grad():
            logits = language.model.eval()(tokens, torch.arange(LENGTH).expand(2, -1), None)
        print(
            json.dumps(
                {
                    "hidden": float((last - hidden).abs().max()),
                    "logits": float((logits[..., : checkpoint["vocab_size"]] - expected.logits).abs().max()),
                    "vocabulary": checkpoint["vocab_size"],
                    "scaling": opened.config.rope_scaling,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    words = sys.argv[1:]
    main([(source, Path(folder)) for source, folder in zip(words[::2], words[1::2], strict=True)])
