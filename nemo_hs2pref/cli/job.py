"""What a job script asks before it starts anything: `python -m nemo_hs2pref.cli.job train rm key=value ...`.

The answer is shell text: assignments, or `die` with the sentence that says why the job cannot run.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from nemo_hs2pref.errors import STOPPED, ConfigError, HS2PrefError
from nemo_hs2pref.launch.jobs.allocation import Allocation, refuse_misfit
from nemo_hs2pref.launch.jobs.validation import load_checked, missing


def answer(words: Sequence[str]) -> str:
    """RUN (absolute), NODES, DEVICES, STOPPED_CODE."""
    config, _ = load_checked(words[2:])
    refuse_misfit(config, Allocation.of_job(os.environ))
    if faults := missing(config):
        raise ConfigError("; ".join(faults))
    values = {
        "RUN": Path(config.exp_manager.explicit_log_dir).absolute(),
        "NODES": config.trainer.num_nodes,
        "DEVICES": config.trainer.devices,
        "STOPPED_CODE": STOPPED,
    }
    return "\n".join(f"{name}={shlex.quote(str(value))}" for name, value in values.items())


if __name__ == "__main__":
    try:
        print(answer(sys.argv[1:]))
    except HS2PrefError as error:
        print("die", shlex.quote(str(error)))
