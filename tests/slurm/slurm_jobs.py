"""Jobs on the virtual cluster, as a user has them: submitted, watched, signalled."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "slurm" / "train_rm_70b.sh"
TIME_LIMIT_S = 400
Done = subprocess.CompletedProcess[str]


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIME_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@dataclass(frozen=True)
class Run:
    """A run folder."""

    folder: Path

    @property
    def state(self) -> dict:
        file = self.folder / "run_state.json"
        return json.loads(file.read_text()) if file.exists() else {"step": 0}

    def has_step(self, step: int) -> bool:
        return self.state["step"] >= step

    def trained(self) -> list[dict]:
        rows = map(json.loads, (self.folder / "metrics.jsonl").read_text().splitlines())
        return [row for row in rows if row["kind"] == "train"]

    def losses(self) -> list[float]:
        return [row["loss"] for row in self.trained()]

    def last_line(self, start: str) -> str:
        """Of the driver's log of a start, JOBID or JOBID-rN."""
        return (self.folder / "logs" / start / "driver.log").read_text().splitlines()[-1]


@dataclass(frozen=True)
class Cluster:
    """The virtual cluster and what its jobs train."""

    folder: Path
    config: str  # SLURM_CONF
    base: Path
    data: Path

    @property
    def environment(self) -> dict[str, str]:
        mine = {
            key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_", "HS2PREF_"))
        }
        mine |= {"SLURM_CONF": self.config, "HS2PREF_PYTHON": sys.executable}
        return mine | {"OMP_NUM_THREADS": "1", "HS2PREF_PREFLIGHT": "no"}  # it imports NeMo once more

    def call(self, *words: object) -> Done:
        return subprocess.run(
            [str(word) for word in words],
            env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False,
        )  # fmt: skip

    def run(self, name: str) -> Run:
        return Run(self.folder / name)

    def overrides(self, run: Run, *more: str) -> list[str]:
        """llama_tiny, tensor parallel over two nodes of one process each; eight steps unless `more` says otherwise."""
        return [
            *("experiment=rm_stage2_scaled_bt", "model=llama_tiny", "parallel=tp2"),
            *("trainer.num_nodes=2", "trainer.devices=1", f"data.dir={self.data}"),
            *(f"pretrained_checkpoint.restore_from_path={self.base}", f"exp_manager.explicit_log_dir='{run.folder}'"),
            *("model.encoder_seq_length=1000", "model.global_batch_size=4", "model.micro_batch_size=2"),
            *("model.optim.lr=1e-3", "head.load_rm_head_weights=false", "trainer.rm.max_epochs=10"),
            *("trainer.rm.limit_val_batches=1", "trainer.rm.val_check_interval=0", "trainer.rm.save_interval=0"),
            *("exp_manager.create_tensorboard_logger=false", "exp_manager.save_margin_s=5", "trainer.rm.max_steps=8"),
            *more,
        ]

    def submit(self, run: Run, *more: str) -> Done:
        """`hs2pref submit`; its standard output is the job's id."""
        words = ["submit", SCRIPT, "cluster=local", *self.overrides(run, *more)]
        return self.call(sys.executable, "-m", "nemo_hs2pref.cli", *words)

    def checked_submit(self, run: Run, *more: str) -> str:
        done = self.submit(run, *more)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def sbatch(self, *flags: str, overrides: list[str], output: Path) -> str:
        """The script without us; returns the job's id."""
        sizes = ["--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=1"]
        return self.checked("sbatch", "--parsable", f"--output={output}", *sizes, *flags, SCRIPT, *overrides)

    def checked(self, *words: object) -> str:
        done = self.call(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def is_queued(self, job: str) -> bool:
        return bool(self.call("squeue", "--noheader", "--jobs", job).stdout.strip())

    def wait(self, job: str) -> str:
        """Until the job is gone; its state, as COMPLETED."""
        wait_until(lambda: not self.is_queued(job), f"job {job} does not end")
        shown = self.checked("scontrol", "show", "job", "--oneliner", job)
        return shown.split("JobState=")[1].split()[0]

    def status(self, run: Run) -> tuple[int, dict]:
        """Exit code and object of `hs2pref status --json`."""
        done = self.call(sys.executable, "-m", "nemo_hs2pref.cli", "status", run.folder, "--json")
        return done.returncode, json.loads(done.stdout)
