"""`hs2pref status RUN_DIR`: where a run stands."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from nemo_hs2pref.outside import show

EXAMPLES = """examples:
  hs2pref status runs/stage2
  hs2pref status runs/stage2 --json | jq .step
  until hs2pref status runs/stage2 >/dev/null; do sleep 60; done      # until it is finished

Reads the run folder, and asks squeue where the run is a job.
exit code: 0 finished, 1 failed, 2 no run here, 3 running, 4 queued, 5 stopped (resumes when started again)
"""
EXIT_CODES = {"finished": 0, "failed": 1, "running": 3, "waiting": 4, "stopped": 5}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="exp_manager.explicit_log_dir of the run")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from nemo_hs2pref.launch.jobs.status import lines, read_status

    status = read_status(args.run_dir)
    show(json.dumps(asdict(status), indent=2).split("\n") if args.json else lines(args.run_dir, status))
    return EXIT_CODES[status.outcome]
