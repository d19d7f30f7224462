"""The steps of the recipe as commands that a person could type, at the size of a laptop.

What `quickstart` and `reproduce` run: each command in a process of its own, printed before it runs. Sizes were chosen
by measurement (docs/results.md) so that two cores train a row of the paper in minutes.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from nemo_hs2pref.config import overrides
from nemo_hs2pref.errors import HS2PrefError

LAYERS = 4  # of SmolLM2's 30
MAX_LENGTH = 512  # tokens
ALPHA = 1.52  # the paper's
LAPTOP = (
    "model=smollm2",
    "model.global_batch_size=16",
    f"model.encoder_seq_length={MAX_LENGTH}",
    "model.optim.sched.warmup_steps=2",
    "trainer.rm.max_steps=-1",
    "trainer.rm.val_check_interval=0",
    "trainer.rm.save_interval=0",
    "exp_manager.checkpoint_callback_params.save_top_k=0",
)
# What the small model needs to learn something from a few hundred rows [ours].
REGRESSION = ("trainer.rm.max_epochs=1", "model.optim.lr=1e-4")
BRADLEY_TERRY = ("trainer.rm.max_epochs=2", "model.optim.lr=5e-5")  # from a model that regression has trained


def train_words(settings: Sequence[str], *, start: Path, data: Path, run: Path) -> list[str]:
    """`hs2pref train rm ...` without `hs2pref`."""
    return [
        "train",
        "rm",
        *settings,
        f"data.dir={quoted(data)}",
        f"pretrained_checkpoint.restore_from_path={quoted(start)}",
        f"exp_manager.explicit_log_dir={quoted(run)}",
    ]


def base_words(base: Path) -> list[str]:
    return ["convert", "from-hf", "smollm2", str(base), "--layers", str(LAYERS)]


def is_prepared(source: str) -> bool:
    """The folder holds rows that training can read, and needs no preparation."""
    return (Path(source) / "pairs.train.jsonl").is_file()


def prepare_words(source: str, base: Path, out: Path, max_length: int = MAX_LENGTH) -> list[str]:
    """Preparation without what is longer than the model is trained on."""
    limit = ("--max-length", str(max_length), "--tokenizer", str(base / "tokenizer"))
    return ["data", "prepare", "--source", source, "--out", str(out), *limit]


def extrapolate_words(weak: Path, strong: Path, out: Path) -> list[str]:
    return ["extrapolate", "--weak", str(weak), "--strong", str(strong), "--alpha", str(ALPHA), "--out", str(out)]


def quoted(path: Path) -> str:
    """A path in Hydra's grammar, where a comma, a space or another language's letter needs quotes."""
    plain = re.fullmatch(r"[\w./-]+", str(path), re.ASCII)
    return str(path) if plain else overrides.quoted(str(path))


def shown(words: Sequence[str]) -> str:
    """The command as it is typed."""
    return f"hs2pref {shlex.join(words)}"


def command(words: Sequence[str]) -> None:
    """Print and run `hs2pref ...` in a process of its own; its error is what the user has just read."""
    print(f"\n$ {shown(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "nemo_hs2pref.cli", *words], check=False)
    if done.returncode:
        raise HS2PrefError(f"`hs2pref {words[0]}` ended with exit code {done.returncode}; its message is above")
