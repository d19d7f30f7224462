"""Facts about the reward model on the real classes, in one launch; prints one JSON object.

usage: model_worker.py NEMO_FOLDER DATA
"""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any


def main(base: Path, data: Path) -> dict[str, Any]:
    from nemo_hs2pref.runtime.platform import machine

    machine.prepare()

    from nemo_hs2pref.algorithms.validation import validate
    from nemo_hs2pref.checkpoint.megatron.weights import load_weights
    from nemo_hs2pref.checkpoint.opening import read_config
    from nemo_hs2pref.data.batches.rewards import collate
    from nemo_hs2pref.data.batches.tokens import token_batch
    from nemo_hs2pref.objectives.interface import no_sums, sums_of
    from nemo_hs2pref.recipes.rm import load_reward_model_config
    from nemo_hs2pref.recipes.rm_training import metric_names, objective_of, read_items
    from nemo_hs2pref.runtime.run.batching import Batcher, validation_batches
    from nemo_hs2pref.runtime.run.build import build_reward_model
    from nemo_hs2pref.scoring.nemo import Rows

    def load(*overrides: str):
        given = [
            *("model=llama_tiny", "model.encoder_seq_length=1000", "model.global_batch_size=4", f"data.dir={data}"),
            *(f"pretrained_checkpoint.restore_from_path={base}", "exp_manager.explicit_log_dir=none"),
        ]
        return load_reward_model_config([*given, *overrides])[0]

    config = load("loss=regression")
    model = build_reward_model(config, read_config(base), max_steps=1)
    load_weights(model, base, head=False)
    model.prepare_for_validation_step()
    facts: dict[str, Any] = {"attributes": config.head.attributes, "losses": {}, "micro_batch": {}}

    def loss_of(config: Any, items: Any, indices: Any, multiple_of: int = 1) -> float:
        rows = partial(Batcher(config, collate, multiple_of=multiple_of), items, indices)
        return validate(model, objective_of(config), {"rows": [rows]}, flags=dict)[0]["val_rows_loss"]

    # one loss after the other, through the configuration, on the same rows
    ratings, _ = read_items(config)
    ratings = sorted(ratings, key=lambda item: len(item.tokens))[:4]
    pairs, held_out = read_items(load("loss=scaled_bt"))
    pairs = sorted(pairs, key=lambda item: item.width)[:8]
    for name in ("regression", "regular_bt", "margin_bt", "scaled_bt", "combined"):
        chosen_config = load(f"loss={name}")
        items = ratings if name == "regression" else pairs
        facts["losses"][name] = loss_of(chosen_config, items, range(len(items)))

    def attributes_of(token_lists: list[list[int]], multiple_of: int = 1) -> list[list[float]]:
        rows = token_batch(token_lists, multiple_of=multiple_of, device=machine.device())
        (found,) = model.outputs([Rows(rows)])
        return found.tolist()

    facts["rated"] = {
        "attributes": attributes_of([item.tokens for item in ratings]),
        "targets": [r.attributes for r in ratings],
    }
    facts["compared"] = {
        "chosen": [attributes_of([item.chosen.tokens])[0] for item in pairs],
        "rejected": [attributes_of([item.rejected.tokens])[0] for item in pairs],
        "targets": [row.attributes for item in pairs for row in (item.chosen, item.rejected)],
        "strength": [item.strength for item in pairs],
    }

    # the size of a micro batch, its padding and the slot that is the reward
    for size in (1, 2, 4, 8):
        facts["micro_batch"][size] = loss_of(load("loss=scaled_bt", f"model.micro_batch_size={size}"), pairs, range(8))
    padded = load("loss=scaled_bt", "data.packed_sequence=false")
    facts["padded"] = loss_of(padded, pairs, range(8), multiple_of=512)
    facts["other_slot"] = loss_of(load("loss=scaled_bt", "head.reward_weights=[0,0,0,0,0,1,0,0,0]"), pairs, range(8))

    # validation over ten items in batches of four: the last one is partial
    config = load("loss=scaled_bt", "model.micro_batch_size=3")
    objective = objective_of(config)
    ten = sorted(held_out["pairs"], key=lambda item: item.width)[:10]
    five = sorted(held_out["ratings"], key=lambda item: item.width)[:5]
    batcher = Batcher(config, collate, multiple_of=1)
    sets = {"pairs": validation_batches(config, batcher, ten), "ratings": validation_batches(config, batcher, five)}
    facts["validation"], _ = validate(model, objective, sets, flags=dict)
    facts["metric_names"] = metric_names(objective, {"pairs": ten, "ratings": five})
    facts["validation_pairs"] = {
        "chosen": [attributes_of([item.chosen.tokens])[0] for item in ten],
        "rejected": [attributes_of([item.rejected.tokens])[0] for item in ten],
        "strength": [item.strength for item in ten],
        "characters": [row.characters for item in ten for row in (item.chosen, item.rejected)],
    }
    facts["validation_ratings"] = {
        "attributes": [attributes_of([item.tokens])[0] for item in five],
        "targets": [item.attributes for item in five],
    }

    # a rank without anything to validate joins the sums with zeros
    empty, full = (
        model.sums(rows, partial(sums_of, objective), no_sums(objective)) for rows in ([], batcher(ten, range(2)))
    )
    facts["empty"] = {
        name: [value.abs().sum().item(), value.shape == full[name].shape] for name, value in empty.items()
    }
    facts["empty_names"] = [list(empty), list(full)]
    facts["packed"] = packed_against_padded(model, ratings)
    facts["asked"] = asked_of_the_device(model, ratings)
    return facts


def packed_against_padded(model: Any, items: Any) -> dict[str, float]:
    """How far attributes and gradients of packed rows are from those of padded rows, relative in norm."""
    import torch

    from nemo_hs2pref.data.batches.rewards import collate
    from nemo_hs2pref.runtime.platform import machine

    (gpt,) = model.get_model_module_list()

    def run(packed: bool) -> tuple[Any, dict[str, Any]]:
        gpt.zero_grad()
        attributes_BK = gpt(collate(items, multiple_of=8, device=machine.device(), packed=packed))
        weights = torch.arange(1.0, attributes_BK.numel() + 1).view_as(attributes_BK)
        (attributes_BK.square() * weights).mean().backward()
        return attributes_BK.detach(), {name: p.grad.clone() for name, p in gpt.named_parameters()}

    (packed_BK, packed), (padded_BK, padded) = run(True), run(False)
    apart = {name: ((packed[name] - padded[name]).norm() / padded[name].norm()).item() for name in padded}
    return {"attributes": ((packed_BK - padded_BK).norm() / padded_BK.norm()).item(), "gradients": max(apart.values())}


def asked_of_the_device(model: Any, items: Any) -> list[str]:
    """Calls that would make the host wait for a GPU, in a forward pass and backward over packed rows."""
    import torch

    from nemo_hs2pref.data.batches.rewards import collate
    from nemo_hs2pref.runtime.platform import machine
    from nemo_hs2pref.scoring.nemo import Rows

    asked: list[str] = []

    class OnDevice(torch.Tensor):
        """Like a tensor on a GPU: reading it is noted, and what is computed from it is of this class too."""

        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.__name__ in {"tolist", "item", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__"}:
                asked.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs)

    (gpt,) = model.get_model_module_list()
    batch = collate(items, multiple_of=8, device=machine.device(), packed=True).tokens
    attributes_BK = gpt(
        Rows(replace(batch, ids=batch.ids.as_subclass(OnDevice), lengths=batch.lengths.as_subclass(OnDevice)))
    )
    attributes_BK.sum().backward()
    assert isinstance(attributes_BK, OnDevice)
    return asked


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
