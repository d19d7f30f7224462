"""`hs2pref train RECIPE`: train a model from a Hydra configuration (torchrun: -m nemo_hs2pref.cli.train rm)."""

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_hs2pref import run_state
from nemo_hs2pref.cli import processes
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.run_lock import RunLock
from nemo_hs2pref.runtime.process import stop_signals

if TYPE_CHECKING:  # it imports hydra
    from nemo_hs2pref.recipes.recipe import Recipe

EXAMPLES = """examples:
  # the paper's stage 1 (helpfulness regression) on 8 nodes of 8 GPUs, one process a GPU
  hs2pref train rm experiment=rm_stage1_helpfulness data.dir=data/helpsteer2 \\
      pretrained_checkpoint.restore_from_path=checkpoints/llama31_70b exp_manager.explicit_log_dir=runs/stage1

  # the same recipe on a laptop: batch, rate and warm-up fit the bundled sample
  hs2pref train rm experiment=rm_stage1_helpfulness model=smollm2 model.encoder_seq_length=512 \\
      model.global_batch_size=16 model.optim.lr=1e-4 model.optim.sched.warmup_steps=2 trainer.rm.max_epochs=1 \\
      data.dir=data pretrained_checkpoint.restore_from_path=base exp_manager.explicit_log_dir=runs/stage1

  # two processes, tensor parallel; this command starts them
  hs2pref train rm model=llama_tiny parallel=tp2 ...

  # ratings and preferences in one loss; stop when validation no longer improves; curves on Weights & Biases
  hs2pref train rm experiment=rm_combined loss.weights.regression=0.5 exp_manager.create_early_stopping_callback=true \\
      exp_manager.create_wandb_logger=true ...

  # adapters only (LoRA); `hs2pref convert merge-lora` makes a whole model of them
  hs2pref train rm experiment=rm_stage1_helpfulness peft=lora model.optim.lr=1e-4 ...

  # print the resolved configuration and stop
  hs2pref train rm experiment=rm_stage2_scaled_bt --print-config ...
"""


def configure(parser: argparse.ArgumentParser) -> None:
    from nemo_hs2pref.recipes.table import RECIPES  # hydra: for this verb alone

    parser.epilog = EXAMPLES
    what = "; ".join(f"{name}: {recipe.title}" for name, recipe in RECIPES.items())
    parser.add_argument("recipe", choices=RECIPES, metavar="RECIPE", help=what)
    parser.add_argument("--config-name", metavar="NAME", help="in conf/; default: that of the recipe")
    parser.add_argument("--print-config", action="store_true", help="check and print the configuration, then stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="Hydra overrides: group=name or key=value")
    parser.set_defaults(run=run, run_dir_of=run_dir_of)


def run_dir_of(args: argparse.Namespace) -> Path:
    from nemo_hs2pref.recipes.table import recipe_of

    config, _ = recipe_of(args.recipe).load(args.overrides, args.config_name)
    return Path(config.exp_manager.explicit_log_dir)


@processes.as_rank
def run(args: argparse.Namespace) -> int:
    started = time.time()
    from nemo_hs2pref.checkpoint.opening import read_config
    from nemo_hs2pref.recipes.table import recipe_of

    recipe = recipe_of(args.recipe)
    if args.print_config:
        return print_config(recipe, args)
    config, resolved = recipe.load(args.overrides, args.config_name)
    base = Path(config.pretrained_checkpoint.restore_from_path)
    folder = Path(config.exp_manager.explicit_log_dir)
    done = run_state.read_finished(folder) if config.exp_manager.resume_if_exists else None
    if done is not None and done.run == recipe.identity(resolved):
        if processes.is_first():
            print(f"{folder} is finished, after step {done.step}; {folder / done.checkpoint}")
        return 0
    lock = RunLock(folder)
    if processes.is_first() and folder.is_dir():  # a mistake leaves no folder behind
        lock.claim()
    args.run_dir = folder  # what fails before is not told in a folder where another start works
    checkpoint = read_config(base)
    recipe.check(config, checkpoint)

    if must_be_started(config.trainer.num_nodes, config.trainer.devices):
        lock.release()  # for the ranks
        words = ["train", recipe.name, "--config-name", args.config_name or recipe.config_name, *args.overrides]
        return processes.start(config.trainer.devices, words, args.run_dir)
    log_to_stderr()
    stop_signals.catch(signal.SIGUSR1)  # SIGTERM ends this process until there is something to save

    from nemo_hs2pref.runtime.platform import machine  # heavy: torch

    machine.quiet_upstream()
    training = recipe.training()
    data = training.read_data(config)  # before NeMo is imported: a bad row must not cost half a minute
    machine.prepare()
    return training.train(config, resolved, checkpoint, data, lock, started)


def print_config(recipe: "Recipe[Any]", args: argparse.Namespace) -> int:
    """Check what is given and print it; ??? stands where a value is missing."""
    from nemo_hs2pref.checkpoint.opening import read_config

    config, text, missing = recipe.load_to_show(args.overrides, args.config_name)
    if config is not None:
        base = Path(config.pretrained_checkpoint.restore_from_path)
        recipe.check(config, read_config(base) if base.exists() else {})
    print(text, end="")
    if missing:
        processes.say("train", f"missing: {', '.join(missing)}")
    return 0


def must_be_started(num_nodes: int, devices: int) -> bool:
    """Several processes of this machine, and this is none of them; raises ConfigError where others were started."""
    wanted = f"trainer.num_nodes={num_nodes} x trainer.devices={devices} needs {num_nodes * devices}"
    way = f"one process a GPU: srun --nodes={num_nodes} --ntasks-per-node={devices}"
    if processes.is_started() and (found := int(os.environ["WORLD_SIZE"])) != num_nodes * devices:
        raise ConfigError(f"{found} processes were started, {wanted}; start {way}")
    if num_nodes > 1 and not processes.is_started():
        raise ConfigError(f"this process is alone, {wanted}; on several nodes start {way}")
    return devices > 1 and not processes.is_started()


def log_to_stderr() -> None:
    """INFO from rank 0, warnings from all; each line names its rank where there are several."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    where = f" rank {rank}" if world > 1 else ""
    logging.basicConfig(format=f"%(asctime)s{where} %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("nemo_hs2pref").setLevel(logging.INFO if rank == 0 else logging.WARNING)


if __name__ == "__main__":
    from nemo_hs2pref.cli import main

    sys.exit(main(["train", *sys.argv[1:]]))
