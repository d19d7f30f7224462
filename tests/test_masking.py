"""No secret is printed or stored, whoever issued it; made up here in the forms in which they are issued."""

import json
import random
import string
from pathlib import Path

import pytest

from nemo_hs2pref.cli.processes import record
from nemo_hs2pref.errors import ConfigError
from nemo_hs2pref.masking import MARK, is_secret, masked
from nemo_hs2pref.recipes.rm import RECIPE, load_reward_model_config

RANDOM = random.Random(7)


def word(length: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(RANDOM.choices(letters, k=length - 1)) + "7"


HEX = "0123456789abcdef"
JWT = f"eyJ{word(20)}.eyJ{word(40)}.{word(43)}"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{word(64)}\n{word(64)}\n-----END RSA PRIVATE KEY-----"
ISSUED = {
    "OpenAI": f"sk-{word(48)}",
    "OpenAI, of a project": f"sk-proj-{word(74)}_{word(20)}-{word(20)}",
    "OpenAI, of a service account": f"sk-svcacct-{word(60)}",
    "Anthropic": f"sk-ant-api03-{word(93)}-{word(8)}AA",
    "GitHub": f"ghp_{word(36)}",
    "GitHub, of an app": f"ghs_{word(36)}",
    "GitHub, OAuth": f"gho_{word(36)}",
    "GitHub, fine-grained": f"github_pat_{word(22)}_{word(59)}",
    "GitLab": f"glpat-{word(20)}",
    "Slack": f"xoxb-{word(12, string.digits)}-{word(12, string.digits)}-{word(24)}",
    "Slack, of an app": f"xapp-1-A{word(10)}-{word(13, string.digits)}-{word(64, HEX)}",
    "Google": f"AIza{word(35)}",
    "Google, OAuth": f"ya29.{word(60)}",
    "AWS": f"AKIA{word(16, string.ascii_uppercase)}",
    "AWS, for a session": f"ASIA{word(16, string.ascii_uppercase)}",
    "Hugging Face": f"hf_{word(34, string.ascii_letters)}",
    "Weights & Biases": f"wandb_v1_{word(77)}",
    "Weights & Biases, own server": f"local-{word(40, HEX)}",
    "NVIDIA": f"nvapi-{word(64)}",
    "a JWT": JWT,
    "a private key": PEM,
}


@pytest.mark.parametrize("whose", ISSUED)
def test_a_secret_is_known_by_its_form_wherever_it_stands(whose: str) -> None:
    secret = ISSUED[whose]
    assert is_secret(secret)
    for text in ("{}", "key {}, and more", '{{"key": "{}"}}', "export X={}\n", "(at '{}')", "a/{}/b"):
        assert masked(text.format(secret)) == text.format(MARK)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("https://me:", "@host/x?y=1"),
        ("https://host/x?a=1&token=", "&b=2"),
        ("https://host/f?X-Amz-Signature=", ""),
        ("https://host/f?sig=", "#part"),
        ("Authorization: Bearer ", ""),
        ("WANDB_API_KEY=", " next"),
        ('"api_key": "', '", "b": 1'),
        ("AWS_SECRET_ACCESS_KEY=", ""),
        ("DB_PASSWORD='", "'"),
        ("HF_TOKEN=", "\n"),
        ("https://hooks.slack.com/services/", " "),
    ],
)
def test_a_secret_without_a_form_is_known_by_its_place(before: str, after: str) -> None:
    secret = word(40, HEX)
    assert secret not in masked(f"{before}{secret}{after}")
    assert masked(f"{before}{secret}{after}").endswith(f"{MARK}{after}")


@pytest.mark.parametrize(
    "text",
    [
        "commit c8f3c57b1e4a0c2d9f8e7a6b5c4d3e2f1a0b9c8d",
        f"sha256 {word(64, HEX)}",
        "https://host:8080/a@b", "risk-assessment-of-long-names-2026", "sk-learn", "hf_hub_download(x)", "hf_transfer",
        "pad_token: <|end_of_text|>", "tokens: 123456789", "token_ids=[1, 2]", "monkey: banana-banana", "eyJ.eyJ",
        "WANDB_API_KEY looks like a secret", "task-sk-1", "export HF_TOKEN=$TOKEN", "user@host:/path", "bearer of news",
    ],
)  # fmt: skip
def test_what_only_sounds_like_one_stays(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "text", ["sk-" * 100_000, "-----BEGIN PRIVATE KEY-----" * 20_000, "a" * 400_000, "eyJaaaaaaaaa." * 30_000,
             "://" * 100_000, "A_" * 200_000, "bearer " * 50_000, "?a=" * 100_000]
)  # fmt: skip
def test_no_text_takes_for_ever(text: str) -> None:
    """With the square of its length it would not end within a test's time."""
    assert len(masked(text)) <= len(text)


def test_a_configuration_with_a_secret_is_refused_without_saying_it() -> None:
    secret = ISSUED["Hugging Face"]
    config, _ = load_reward_model_config(
        ["data.dir=/d", f"pretrained_checkpoint.restore_from_path=/b/{secret}", "exp_manager.explicit_log_dir=/r"],
    )
    with pytest.raises(ConfigError, match=r"pretrained_checkpoint.restore_from_path looks like a secret") as caught:
        RECIPE.check(config, {})
    assert secret not in str(caught.value)


def test_a_failure_that_is_recorded_keeps_no_secret(tmp_path: Path) -> None:
    import argparse

    record(argparse.Namespace(run_dir=tmp_path), 0, f"404 of https://me:{ISSUED['Slack']}@host", 1)
    assert json.loads((tmp_path / "failure.json").read_text())["message"] == f"404 of https://{MARK}@host"
