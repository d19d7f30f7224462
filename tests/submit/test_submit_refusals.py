"""What is not queued, and why."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nemo_hs2pref import run_lock
from nemo_hs2pref.cli.job import answer
from nemo_hs2pref.errors import ConfigError, InstallationError, TrainingError
from nemo_hs2pref.launch.jobs.allocation import Allocation, refuse_misfit
from nemo_hs2pref.launch.jobs.submission import Job, make_job, submit
from nemo_hs2pref.recipes.rm import load_reward_model_config
from nemo_hs2pref.run_lock import RunLock

SCRIPT = Path(__file__).parents[2] / "slurm" / "train_rm_70b.sh"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.optim.lrr=1", r"unknown key model\.optim\.lrr; did you mean model\.optim\.lr\?"),
        ("cluster.tme=1", r"unknown key cluster\.tme; did you mean cluster\.time\?"),
        ("cluster=h200", "Could not find 'cluster/h200'"),
        ("cluster.container=docker", "expected one of none, enroot_pyxis, apptainer"),
        ("cluster.environment.A-B=1", "no name of a variable"),
        ("cluster.environment.WANDB_API_KEY=x", "WANDB_API_KEY looks like a secret.*export WANDB_API_KEY before"),
        ("cluster.environment.PROXY='http://me:word@host'", "PROXY looks like a secret"),
        (
            "cluster.environment.NCCL_SOCKET_IFNAME=eth0,eth1",
            r"type 'cluster\.env.*NAME=\"eth0,eth1\"'",
        ),
        ("cluster.container=enroot_pyxis", r"cluster\.image=None: enroot_pyxis cannot read it; expected /shared"),
        ("cluster.mounts=['data:/data']", r"cluster\.mounts: 'data:/data' is no mount; expected /HOST"),
        (r"exp_manager.explicit_log_dir='a\b'", r"'.*a\\\\b' has the character '\\\\' in it, which SLURM"),
        ("exp_manager.explicit_log_dir='a\nb'", r"has the character '\\n' in it"),
        ("cluster.time=soon", "cluster.time: 'soon' is not a length of time"),
        ("cluster.time=10", r"cluster\.time=10 leaves nothing for training"),
        ("cluster.gpus_per_node=4", r"trainer\.devices=8, but a node of the cluster has 4 GPUs"),
        ("parallel=tp8_pp2_8n8g", r"global_batch_size=66 is not a multiple"),
    ],
)
def test_what_cannot_run_is_refused(places: list[str], override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_job(SCRIPT, [*places, "model.global_batch_size=66", "model.micro_batch_size=66", override])


def test_a_path_that_the_container_does_not_see_is_not_queued(places: list[str], here: Path) -> None:
    elsewhere = here.parent / f"{here.name}-elsewhere"
    (here / "base").rename(elsewhere)
    (here / "base").symlink_to(elsewhere)
    inside = [*places, "cluster=h100", f"exp_manager.explicit_log_dir={elsewhere}/run"]
    assert make_job(SCRIPT, [*places, f"exp_manager.explicit_log_dir={elsewhere}/run"]).faults == []
    assert make_job(SCRIPT, [*inside, f"cluster.mounts=['{elsewhere}']"]).faults == []
    assert make_job(SCRIPT, inside).faults == [
        f"{key}: the container does not see {path}; add its folder to cluster.mounts"
        for key, path in (
            ("pretrained_checkpoint.restore_from_path", here / "base"),
            ("exp_manager.explicit_log_dir", elsewhere / "run"),
        )
    ]


def test_an_image_and_mounts_that_are_missing_are_not_queued(places: list[str]) -> None:
    words = ["cluster=a100", "cluster.image=/no/image.sqsh", "cluster.mounts=['/no/data:/data']"]
    assert make_job(SCRIPT, [*places, *words]).faults == [
        "cluster.image: /no/image.sqsh is not there",
        "cluster.mounts: /no/data is not there",
    ]


def test_a_path_that_is_missing_is_not_queued(sbatch: Path, places: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"data\.train: .*/elsewhere/pairs\.train\.jsonl is not there"):
        submit(make_job(SCRIPT, [*places, "data.dir=elsewhere"]))
    assert not (sbatch / "words").exists()
    assert not (sbatch / "runs").exists()


@pytest.mark.parametrize(
    ("experiment", "read", "other"),
    [
        ("rm_hh_rlhf_llama3_70b", "pairs", "ratings"),
        ("rm_oasst_llama3_70b", "ratings", "pairs"),
        ("rm_helpsteer_llama3_70b", "ratings", "pairs"),
    ],
)
def test_data_of_one_kind_are_queued(places: list[str], here: Path, experiment: str, read: str, other: str) -> None:
    (here / "data" / f"{read}.train.jsonl").touch()
    (here / "data" / f"{other}.validation.jsonl").unlink()
    words = [*places, f"experiment={experiment}"]
    assert make_job(SCRIPT, words).faults == []
    (here / "data" / f"{read}.validation.jsonl").unlink()
    assert make_job(SCRIPT, words).faults == [
        f"data.validation.{read}: {here}/data/{read}.validation.jsonl is not there"
    ]


def test_a_second_job_of_a_folder_is_not_queued(sbatch: Path, submitted: Job, places: list[str]) -> None:
    squeue = sbatch / "bin" / "squeue"
    squeue.write_text("#!/bin/sh\n[ $3 = 4711 ] && cat queue\n")
    squeue.chmod(0o755)
    for state in ("RUNNING gpu1", "PENDING (Dependency)"):
        (sbatch / "queue").write_text(state)
        with pytest.raises(
            ConfigError, match="runs/a: job 4711 of this folder is in the queue; wait, or `scancel 4711`"
        ):
            submit(make_job(SCRIPT, places))
    for state in ("COMPLETING", ""):
        (sbatch / "queue").write_text(state)
        assert submit(make_job(SCRIPT, places)) == "4711"


def test_no_second_job_is_queued_while_squeue_does_not_answer(sbatch: Path, submitted: Job, places: list[str]) -> None:
    squeue = sbatch / "bin" / "squeue"
    squeue.write_text("#!/bin/sh\nexit 1\n")
    squeue.chmod(0o755)
    with pytest.raises(ConfigError, match="runs/a: squeue does not answer, and job 4711 of this folder may be in the"):
        submit(make_job(SCRIPT, places))


@pytest.mark.parametrize("name", ["last", "last.old"])
def test_another_run_in_the_folder_is_refused_unless_it_starts_anew(places: list[str], here: Path, name: str) -> None:
    stored = here / "runs" / "a" / "checkpoints" / name
    (stored / "training_state").mkdir(parents=True)
    (stored / "training_state" / "metadata.json").touch()
    config = OmegaConf.to_container(load_reward_model_config([*places, "model.seed=7"])[1])
    (stored / "hs2pref.json").write_text(json.dumps({"step": 3, "run": config, "read": {}}))
    with pytest.raises(ConfigError, match=r"model\.seed=7, .*; choose another .*resume_if_exists=false"):
        make_job(SCRIPT, places)
    assert make_job(SCRIPT, [*places, "exp_manager.resume_if_exists=false"])


def test_a_job_ends_in_its_check_where_another_start_works(
    places: list[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `hs2pref train` in a shell, which SLURM knows nothing of."""
    monkeypatch.setattr(run_lock, "PATIENCE_S", 0.0)
    for name, value in (("SLURM_JOB_NUM_NODES", "4"), ("SLURM_CPUS_ON_NODE", "64")):
        monkeypatch.setenv(name, value)
    words = ["train", "rm", *places]
    assert answer(words)["RUN"] == f"{here}/runs/a"
    RunLock(here / "runs" / "a").claim()
    with pytest.raises(TrainingError, match=r"runs/a: another start works in this folder, process \d+ on "):
        answer(words)


def test_a_script_that_is_none_of_ours_is_refused(here: Path) -> None:
    (here / "job.sh").write_text("#!/bin/bash\n")
    with pytest.raises(ConfigError, match=r"job\.sh: no job script; expected one of slurm/"):
        make_job(here / "job.sh", [])


def test_without_sbatch_the_job_stays_here(places: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(SCRIPT, places)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InstallationError, match="sbatch is not here"):
        submit(job)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Allocation(nodes=2, gpus=8, processors=64, seconds=9e9), r"it has 2 nodes, trainer\.num_nodes=4"),
        (Allocation(nodes=4, gpus=4, processors=64, seconds=9e9), r"it has 4 GPUs a node, trainer\.devices=8"),
        (Allocation(nodes=4, gpus=0, processors=4, seconds=9e9), "it has 4 processors and no GPU a node"),
        (Allocation(nodes=4, gpus=8, processors=64, seconds=299.0), r"it has 0:04:59 left, .*save_margin_s=300"),
        (Allocation(nodes=8, gpus=4, processors=64, seconds=9e9), r"8 nodes.*, and it has 4 GPUs.*--nodes=4"),
    ],
)
def test_a_job_that_does_not_fit_is_refused_with_the_flags_that_do(
    places: list[str], given: Allocation, said: str
) -> None:
    config, _ = load_reward_model_config(places)
    refuse_misfit(config, Allocation(nodes=4, gpus=8, processors=64, seconds=9e9))
    with pytest.raises(ConfigError, match=said):
        refuse_misfit(config, given)
