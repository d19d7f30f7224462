"""Layouts of the 70B on 8 to 64 GPUs of 80 GB, as `hs2pref plan` computes them: the table of docs/plan.md.

usage: python benchmarks/plan_table.py
"""

from collections.abc import Iterator

from nemo_hs2pref.launch.plan.memory import GIB, recomputing
from nemo_hs2pref.launch.plan.nearest import changed
from nemo_hs2pref.launch.plan.plan import Plan, make_plan
from nemo_hs2pref.recipes.rm import RECIPE, load_reward_model_config

NODES = (1, 2, 4, 8)  # of 8 GPUs
PIPELINES = (1, 2, 4, 8)
GPU_MEMORY = 80  # GiB
TENSOR = 8  # a node, so that its traffic stays there


def main() -> None:
    print("\n".join(table()))


def table() -> Iterator[str]:
    head = ("GPUs", "trained", "TP x PP x DP", "recomputed", "weights", "gradients", "optimizer", "activations")
    yield f"| {' | '.join((*head, 'total', '80 GB'))} |"
    yield "|---" * (len(head) + 2) + "|"
    for nodes in NODES:
        for pipeline in PIPELINES[: NODES.index(nodes) + 1]:
            for recomputation in (None, "full"):
                yield row("all", recomputation, plan(nodes, pipeline, "none", recomputation))
        if nodes <= 2:
            yield row("LoRA", "full", plan(nodes, 1, "lora", "full"))


def plan(nodes: int, pipeline: int, peft: str, recomputation: str | None) -> Plan:
    """Of the paper's stage 1: micro batches of 2 rows of 4096 tokens, sequence parallel."""
    overrides = [
        *("experiment=rm_stage1_helpfulness", f"peft={peft}", f"trainer.num_nodes={nodes}"),
        *(f"model.tensor_model_parallel_size={TENSOR}", f"model.pipeline_model_parallel_size={pipeline}"),
        *("data.dir=none", "exp_manager.explicit_log_dir=none", "pretrained_checkpoint.restore_from_path=none"),
    ]
    config, _ = load_reward_model_config(overrides)
    return make_plan(RECIPE, changed(config, recomputing(recomputation)), {}, GPU_MEMORY)


def row(trained: str, recomputation: str | None, plan: Plan) -> str:
    layout, memory = plan.layout, plan.fullest.memory
    parts = (memory.weights, memory.gradients, memory.optimizer, memory.activations, memory.total)
    cells = [
        *(str(layout.world), trained, f"{layout.tensor} x {layout.pipeline} x {layout.data}", recomputation or "no"),
        *(f"{part / GIB:.1f}" for part in parts),
        "fits" if plan.fits else "tight" if memory.total <= plan.limit else "no",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
