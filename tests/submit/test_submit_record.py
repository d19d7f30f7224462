"""What is kept of a submission: all that ran, and no secret."""

import subprocess
from pathlib import Path

import pytest

from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.launch.jobs.cluster import load_cluster
from nemo_hs2pref.launch.jobs.record import about_code, about_environment, is_shown
from nemo_hs2pref.launch.jobs.submission import Job

SECRETS = ("HF_TOKEN", "WANDB_API_KEY", "NVIDIA_API_KEY", "MYPASSWORD", "HF_APIKEY", "NVIDIA_ACCESSKEY_2",
           "HS2PREF_DB_PASS", "HUGGING_FACE_HUB_TOKEN", "hf_token")  # fmt: skip
NONE = ("NCCL_IB_PKEY", "TOKENIZERS_PARALLELISM", "UCX_KEYPAIRS", "NCCL_BYPASS", "HF_HUB_KEYRING", "TORCH_AUTHOR")


def test_the_record_has_what_ran_and_no_secret(submitted: Job, token: str) -> None:
    kept = {path.name: path.read_text() for path in submitted.record.iterdir()}
    assert {"cluster.sh", "command.sh", "script.sh", "config.yaml", "environment.txt", "git.txt", "git.diff"} < {*kept}
    assert kept["job_id"] == "4711\n"
    assert "NCCL_DEBUG=INFO" in kept["environment.txt"]
    assert "omegaconf==" in kept["environment.txt"]
    assert not [name for name, text in kept.items() if token in text]


def test_the_diff_is_kept_without_what_looks_like_a_secret(tmp_path: Path, token: str) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "run.sh").write_text("train\n")
    git("add", "run.sh")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "a")
    (tmp_path / "run.sh").write_text(f"export HF_TOKEN={token}\nproxy=http://me:word@host:80\n")
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


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_by_its_name_is_neither_taken_nor_kept(name: str) -> None:
    assert not is_shown(name, "1")
    with pytest.raises(ConfigError, match=f"cluster.environment.{name} looks like a secret"):
        load_cluster([f"cluster.environment.{name}=x"])


def test_names_that_only_sound_like_secrets_are_taken_and_kept() -> None:
    assert [*load_cluster([f"cluster.environment.{name}=1" for name in NONE]).environment] == [*NONE]
    kept = about_environment(dict.fromkeys(NONE, "1"))
    assert [line for line in kept.splitlines() if line.endswith("=1")] == sorted(
        f"{name}=1"
        for name in NONE
        if not name.startswith("TOKENIZERS")  # nobody's business
    )
