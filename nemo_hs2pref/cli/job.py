"""What a job script asks before it starts anything: `python -m nemo_hs2pref.cli.job train rm key=value ...`.

The answer is data, a JSON value by its name on each line: what the job needs to know, or as `die` the sentence that
says why it cannot run. Each line has MARK in front, since an image's entry point may print lines of its own.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nemo_hs2pref.errors import STOPPED, ConfigError, HS2PrefError
from nemo_hs2pref.launch.jobs.allocation import Allocation, refuse_misfit
from nemo_hs2pref.launch.jobs.validation import load_checked, missing
from nemo_hs2pref.run_lock import RunLock

MARK = "hs2pref-job: "  # slurm/frame.sh looks for it


def answer(words: Sequence[str]) -> Mapping[str, str | int]:
    """RUN (absolute), NODES, DEVICES, STOPPED_CODE, RESUMES (yes or no: begin anew)."""
    config = load_checked(words).config
    refuse_misfit(config, Allocation.of_job(os.environ))
    if faults := missing(config):
        raise ConfigError("; ".join(faults))
    run = Path(config.exp_manager.explicit_log_dir).absolute()
    RunLock(run).refuse_held()
    return {
        "RUN": str(run),
        "NODES": config.trainer.num_nodes,
        "DEVICES": config.trainer.devices,
        "STOPPED_CODE": STOPPED,
        "RESUMES": "yes" if config.exp_manager.resume_if_exists else "no",
    }


def marked(said: Mapping[str, str | int]) -> str:
    return "".join(f"{MARK}{json.dumps(name)}: {json.dumps(value)}\n" for name, value in said.items())


if __name__ == "__main__":
    try:
        said = answer(sys.argv[1:])
    except HS2PrefError as error:
        said = {"die": str(error)}
    print(marked(said), end="")
