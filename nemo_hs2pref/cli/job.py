"""What a job script asks before it starts anything: `python -m nemo_hs2pref.cli.job train rm key=value ...`.

The answer is shell text: assignments, or `die` with the sentence that says why the job cannot run. Each of its lines
has MARK in front, since an image's entry point may print lines of its own.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from nemo_hs2pref.errors import STOPPED, ConfigError, HS2PrefError
from nemo_hs2pref.launch.jobs.allocation import Allocation, refuse_misfit
from nemo_hs2pref.launch.jobs.validation import load_checked, missing
from nemo_hs2pref.run_lock import RunLock

MARK = "hs2pref-job: "  # slurm/frame.sh looks for it


def answer(words: Sequence[str]) -> str:
    """RUN (absolute), NODES, DEVICES, STOPPED_CODE, RESUMES (yes or no: begin anew)."""
    config, _ = load_checked(words[2:])
    refuse_misfit(config, Allocation.of_job(os.environ))
    if faults := missing(config):
        raise ConfigError("; ".join(faults))
    run = Path(config.exp_manager.explicit_log_dir).absolute()
    RunLock(run).refuse_held()
    values = {
        "RUN": run,
        "NODES": config.trainer.num_nodes,
        "DEVICES": config.trainer.devices,
        "STOPPED_CODE": STOPPED,
        "RESUMES": "yes" if config.exp_manager.resume_if_exists else "no",
    }
    return "\n".join(f"{name}={shlex.quote(str(value))}" for name, value in values.items())


def marked(text: str) -> str:
    return "".join(f"{MARK}{line}\n" for line in text.split("\n"))


if __name__ == "__main__":
    try:
        said = answer(sys.argv[1:])
    except HS2PrefError as error:
        said = f"die {shlex.quote(str(error))}"
    print(marked(said), end="")
