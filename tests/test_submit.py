"""What `hs2pref submit` makes of a script, a cluster and a run; sbatch is a stand-in."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from nemo_hs2pref.config.load import config_dir, load_reward_model_config
from nemo_hs2pref.errors import ConfigError, InstallationError
from nemo_hs2pref.launch.jobs.allocation import Allocation, refuse_misfit
from nemo_hs2pref.launch.jobs.cluster import load_cluster, sbatch_flags, settings_file
from nemo_hs2pref.launch.jobs.record import about_code, about_environment
from nemo_hs2pref.launch.jobs.script import refuse_bad_syntax, words_of
from nemo_hs2pref.launch.jobs.submission import Job, make_job, submit
from nemo_hs2pref.preflight.versions import IMAGE

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "slurm" / "train_rm_70b.sh"
TOKEN = "hf_" + 10 * "7"  # not as it stands in a diff of this file
CLUSTERS = sorted(path.stem for path in (config_dir() / "cluster").glob("*.yaml"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to submit from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def places(here: Path) -> list[str]:
    """Overrides for a run whose data and checkpoint are there."""
    for name in ("pairs.train.jsonl", "ratings.validation.jsonl", "pairs.validation.jsonl"):
        (here / "data" / name).parent.mkdir(exist_ok=True)
        (here / "data" / name).touch()
    base = here / "base"
    (base / "model_weights").mkdir(parents=True)
    (base / "model_weights" / "metadata.json").touch()
    (base / "model_config.yaml").write_text("target: nemo_hs2pref.x\nnum_layers: 80\n")
    return [
        "experiment=rm_stage2_scaled_bt", "head.load_rm_head_weights=false", "data.dir=data",
        "pretrained_checkpoint.restore_from_path=base", "exp_manager.explicit_log_dir=runs/a",
    ]  # fmt: skip


@pytest.fixture
def sbatch(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a stand-in for sbatch writes its words (`words`) and environment (`env`)."""
    program = here / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text(f"""#!/bin/bash
printf '%s\\n' "$@" > {here}/words
env > {here}/env
[[ -z ${{SBATCH_REFUSES-}} ]] || {{ echo "sbatch: error: $SBATCH_REFUSES" >&2; exit 1; }}
echo "4711;north"
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return here


def test_the_places_of_the_script_stand_before_what_is_given() -> None:
    words = words_of(SCRIPT, ["experiment=rm_stage2_scaled_bt", "exp_manager.explicit_log_dir='a b $x'"])
    assert words[:3] == ["train", "rm", "experiment=rm_stage1_helpfulness"]
    assert words[-2:] == ["experiment=rm_stage2_scaled_bt", "exp_manager.explicit_log_dir='a b $x'"]
    assert load_reward_model_config("train_rm", words[2:])[0].exp_manager.explicit_log_dir == "a b $x"


def test_flags_are_those_of_the_layout_and_the_cluster(places: list[str]) -> None:
    job = make_job(SCRIPT, ["cluster=h100", "cluster.account=me", "cluster.sbatch_flags=['--nice=3']", *places])
    assert {"--account=me", "--nodes=4", "--ntasks-per-node=8", "--gpus-per-node=8", "--nice=3"} <= {*job.command}
    assert "--signal=B:USR1@600" in job.command
    assert job.command[-len(places) :] == places
    assert "export HS2PREF_CONTAINER=enroot_pyxis\n" in job.settings
    assert "export NCCL_NVLS_ENABLE=1\n" in job.settings


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_cluster_gives_shell_text_that_is_right(name: str) -> None:
    cluster = load_cluster([f"cluster={name}", "cluster.mounts=['/a b:/c']"])
    refuse_bad_syntax(settings_file(cluster), name)
    assert sbatch_flags(cluster, nodes=1, devices=8, run=Path("/run"))


def test_a_job_knows_its_run_before_it_can_read_the_configuration(places: list[str], here: Path) -> None:
    job = make_job(SCRIPT, [*places, "exp_manager.explicit_log_dir='runs/a b'", "exp_manager.save_margin_s=299.5"])
    text = job.settings + "echo $HS2PREF_RUN:$HS2PREF_NODES:$HS2PREF_MARGIN_S"
    shown = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True).stdout
    assert shown == f"{here}/runs/a b:4:300\n"


def test_values_of_settings_keep_their_quotes() -> None:
    cluster = load_cluster(["cluster.environment.NAME='a \"b\" $HOME `id`, c'", "cluster.mounts=['/a b:/c',/d]"])
    text = settings_file(cluster) + 'printf \'%s|%s\' "$NAME" "$HS2PREF_MOUNTS"'
    shown = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True).stdout
    assert shown == 'a "b" $HOME `id`, c|/a b:/c,/d'


def run_cli(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nemo_hs2pref.cli", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_dry_run_prints_all_and_writes_nothing(here: Path) -> None:
    done = run_cli("submit", str(SCRIPT), "--dry-run", "model.optim.lr=2e-6", cwd=here)
    command, settings, script, config = [part.partition("\n")[2] for part in done.stdout.split("# ---- ")[1:]]
    assert done.returncode == 0
    assert shlex.split(command)[-1] == "model.optim.lr=2e-6"
    assert "sbatch" in shlex.split(command)
    assert "HS2PREF_CONTAINER=none" in settings
    assert script.strip() == SCRIPT.read_text().strip()
    assert yaml.safe_load(config)["model"]["optim"]["lr"] == 2e-6
    assert "would be refused: data.train:" in done.stderr
    assert not [*here.iterdir()]


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
        ("cluster.environment.NCCL_SOCKET_IFNAME=eth0,eth1", "has a comma: quote it for text, .*NAME='eth0,eth1'"),
        ("cluster.container=enroot_pyxis", r"cluster\.image=None: enroot_pyxis cannot read it; expected /shared"),
        ("cluster.mounts=['data:/data']", r"cluster\.mounts: 'data:/data' is no mount; expected /HOST"),
        ("cluster.time=soon", "cluster.time: 'soon' is not a length of time"),
        ("cluster.time=10", r"cluster\.time=10 leaves nothing for training"),
        ("cluster.gpus_per_node=4", r"trainer\.devices=8, but a node of the cluster has 4 GPUs"),
        ("parallel=tp8_pp2_8n8g", r"global_batch_size=66 is not a multiple"),
    ],
)
def test_what_cannot_run_is_refused(places: list[str], override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_job(SCRIPT, [*places, "model.global_batch_size=66", "model.micro_batch_size=66", override])


@pytest.mark.parametrize(
    ("container", "image", "is_read"),
    [
        ("enroot_pyxis", "nvcr.io#nvidia/nemo:25.02.01", True),
        ("enroot_pyxis", "/shared/nemo.sqsh", True),
        ("enroot_pyxis", "nvcr.io/nvidia/nemo:25.02.01", False),
        ("apptainer", "docker://nvcr.io/nvidia/nemo:25.02.01", True),
        ("apptainer", "/shared/nemo.sif", True),
        ("apptainer", "nvcr.io/nvidia/nemo:25.02.01", False),
        ("apptainer", "nemo.sif", False),
    ],
)
def test_an_image_is_one_that_its_container_reads(container: str, image: str, is_read: bool) -> None:
    words = [f"cluster.container={container}", f"cluster.image='{image}'"]
    if is_read:
        assert f"HS2PREF_IMAGE={shlex.quote(image)}" in settings_file(load_cluster(words))
    else:
        with pytest.raises(ConfigError, match="cannot read it; expected /shared/images"):
            load_cluster(words)


def test_the_image_of_the_clusters_is_the_one_that_preflight_knows() -> None:
    for name in ("a100", "h100"):
        assert load_cluster([f"cluster={name}"]).image == IMAGE.replace("/", "#", 1)


def test_names_that_only_sound_like_secrets_are_taken() -> None:
    words = [f"cluster.environment.{name}=1" for name in ("NCCL_IB_PKEY", "TOKENIZERS_PARALLELISM", "UCX_KEYPAIRS")]
    assert len(load_cluster(words).environment) == 3


@pytest.mark.parametrize("line", ["time: 12:00:00", "time: 90"])
def test_a_time_that_yaml_has_made_a_number_is_refused(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(config_dir(), tmp_path / "conf")
    mine = "defaults: [plain, _self_]\n"
    (tmp_path / "conf" / "cluster" / "mine.yaml").write_text(mine + line)
    monkeypatch.setattr("nemo_hs2pref.config.load.config_dir", lambda: tmp_path / "conf")
    with pytest.raises(ConfigError, match=r"cluster\.time=.*put it in quotes"):
        load_cluster(["cluster=mine"])
    assert load_cluster(["cluster=mine", "cluster.time=90"]).time == "90"


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


def test_two_jobs_of_a_folder_never_run_at_once() -> None:
    def flags(run: str) -> list[str]:
        return sbatch_flags(load_cluster([]), nodes=1, devices=8, run=Path(run))

    assert "--dependency=singleton" in flags("/x/run")
    assert flags("/x/run")[0] == flags("/x/y/../run")[0] != flags("/y/run")[0]


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


@pytest.mark.parametrize(("gpus", "asked"), [(8, 1), (0, 0)])
def test_a_cluster_that_counts_no_gpus_is_asked_for_none(
    sbatch: Path, places: list[str], gpus: int, asked: int
) -> None:
    job = make_job(SCRIPT, [*places, f"cluster.gpus_per_node={gpus}"])
    submit(job)
    queued = Path(job.command[-len(places) - 1]).read_text()
    assert len([word for word in job.command if word.startswith("--gpus")]) == asked
    assert queued.count("#SBATCH --gpus") == asked
    assert queued.count("#SBATCH --") >= 10


def test_a_run_that_does_not_fit_into_memory_is_told(here: Path) -> None:
    small = run_cli("submit", str(SCRIPT), "--dry-run", "trainer.num_nodes=2", cwd=here)
    assert "hs2pref submit: warning: does not fit " in small.stderr
    assert "; no layout of these GPUs does: take more nodes" in small.stderr
    large = run_cli("submit", str(SCRIPT), "--dry-run", "trainer.num_nodes=2", "cluster.gpu_memory=200", cwd=here)
    assert "warning" not in large.stderr
    assert large.returncode == small.returncode == 0


def test_a_script_that_is_none_of_ours_is_refused(here: Path) -> None:
    (here / "job.sh").write_text("#!/bin/bash\n")
    with pytest.raises(ConfigError, match=r"job\.sh: no job script; expected one of slurm/"):
        make_job(here / "job.sh", [])


@pytest.mark.parametrize("name", ["last", "last.old"])
def test_another_run_in_the_folder_is_refused_unless_it_starts_anew(places: list[str], here: Path, name: str) -> None:
    stored = here / "runs" / "a" / "checkpoints" / name
    (stored / "training_state").mkdir(parents=True)
    (stored / "training_state" / "metadata.json").touch()
    config = OmegaConf.to_container(load_reward_model_config("train_rm", [*places, "model.seed=7"])[1])
    (stored / "hs2pref.json").write_text(json.dumps({"run": config}))
    with pytest.raises(ConfigError, match=r"model\.seed=7, .*; choose another .*resume_if_exists=false"):
        make_job(SCRIPT, places)
    assert make_job(SCRIPT, [*places, "exp_manager.resume_if_exists=false"])


def test_a_path_that_is_missing_is_not_queued(sbatch: Path, places: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"data\.train: .*/elsewhere/pairs\.train\.jsonl is not there"):
        submit(make_job(SCRIPT, [*places, "data.dir=elsewhere"]))
    assert not (sbatch / "words").exists()
    assert not (sbatch / "runs").exists()


def test_without_sbatch_the_job_stays_here(places: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(SCRIPT, places)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InstallationError, match="sbatch is not here"):
        submit(job)


@pytest.fixture
def submitted(sbatch: Path, places: list[str], monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    job = make_job(SCRIPT, places)
    assert submit(job) == "4711"
    return job


def test_sbatch_gets_the_command_and_where_the_settings_are(sbatch: Path, submitted: Job) -> None:
    assert (sbatch / "words").read_text().splitlines() == submitted.command[1:]
    environment = (sbatch / "env").read_text().splitlines()
    assert f"HS2PREF_CLUSTER_FILE={submitted.record}/cluster.sh" in environment
    assert f"HS2PREF_HOME={ROOT}" in environment


@pytest.mark.parametrize(("job", "kept"), [("9", {"SLURM_CONF"}), (None, {"SLURM_CONF", "SLURM_TIME_FORMAT"})])
def test_from_within_a_job_nothing_of_that_job_is_submitted(
    sbatch: Path, places: list[str], monkeypatch: pytest.MonkeyPatch, job: str | None, kept: set[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name in ("SLURM_CONF", "SLURM_TIME_FORMAT"):
        monkeypatch.setenv(name, "x")
    if job is not None:
        for name in ("SLURM_JOB_ID", "SLURM_CPU_BIND", "SLURM_MEM_PER_CPU", "SRUN_CPUS_PER_TASK", "PMIX_RANK"):
            monkeypatch.setenv(name, job)
    submit(make_job(SCRIPT, places))
    names = {line.partition("=")[0] for line in (sbatch / "env").read_text().splitlines()}
    assert {name for name in names if name.startswith(("SLURM_", "SRUN_", "PMI"))} == kept


def test_the_record_has_what_ran_and_no_secret(submitted: Job) -> None:
    kept = {path.name: path.read_text() for path in submitted.record.iterdir()}
    assert {"cluster.sh", "command.sh", "script.sh", "config.yaml", "environment.txt", "git.txt", "git.diff"} < {*kept}
    assert kept["job_id"] == "4711\n"
    assert "NCCL_DEBUG=INFO" in kept["environment.txt"]
    assert "omegaconf==" in kept["environment.txt"]
    assert not [name for name, text in kept.items() if TOKEN in text]


def test_all_shell_that_is_written_is_right(sbatch: Path, places: list[str]) -> None:
    """Also where names have blanks, quotes and dollars."""
    run = "runs/it's a $(x) `y`"
    values = ["cluster.environment.NOTE='a \"b\" $HOME `id`'", "cluster.python='/a b/python'"]
    quoted = run.replace("'", r"\'")
    job = make_job(SCRIPT, [*places, *values, f"exp_manager.explicit_log_dir='{quoted}'"])
    submit(job)
    written = sorted(job.record.glob("*.sh"))
    assert [path.name for path in written] == ["cluster.sh", "command.sh", "script.sh"]
    for path in written:
        assert subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False).stderr == ""
    assert shlex.split(job.line)[-len(job.command) :] == job.command
    assert job.run == sbatch / run


def test_what_sbatch_says_is_passed_on_and_nothing_is_left(
    sbatch: Path, places: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_REFUSES", "invalid account")
    with pytest.raises(ConfigError, match="sbatch refused the job: sbatch: error: invalid account"):
        submit(make_job(SCRIPT, places))
    assert not [*(sbatch / "runs" / "a" / "submissions").iterdir()]


def test_the_diff_is_kept_without_what_looks_like_a_secret(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "run.sh").write_text("train\n")
    git("add", "run.sh")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "a")
    (tmp_path / "run.sh").write_text(f"export HF_TOKEN={TOKEN}\nproxy=http://me:word@host:80\n")
    diff = about_code(tmp_path)["git.diff"]
    assert "-train\n+export HF_TOKEN=[a secret was here]\n+proxy=http://[a secret was here]@host:80\n" in diff


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_TOKEN", "x"),
        ("NCCL_API_KEY", "x"),
        ("HF_ENDPOINT", "https://me:word@host"),
        ("HS2PREF_NOTE", "see hf_abcdefghij"),
        ("EDITOR", "vi"),
    ],
)
def test_secrets_and_what_is_nobodys_business_are_left_out(name: str, value: str) -> None:
    assert name not in about_environment({name: value})
    assert "NCCL_DEBUG=INFO" in about_environment({"NCCL_DEBUG": "INFO"})


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
    config, _ = load_reward_model_config("train_rm", places)
    refuse_misfit(config, Allocation(nodes=4, gpus=8, processors=64, seconds=9e9))
    with pytest.raises(ConfigError, match=said):
        refuse_misfit(config, given)
