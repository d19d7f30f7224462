"""Credentials, where the run needs some: that they are there, never what they are."""

import netrc
from collections.abc import Iterator, Mapping
from pathlib import Path

from nemo_hs2pref.checkpoint import layout
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.preflight.check import Finding, failed, ok, skipped, warning

WANDB_HOST = "api.wandb.ai"
WITHOUT_ACCOUNT = ("offline", "disabled", "dryrun")


def look_at_accounts(config: RunConfig, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Weights & Biases where it is asked for; Hugging Face where the checkpoint names a tokenizer of the hub."""
    hub = hub_tokenizer(Path(config.pretrained_checkpoint.restore_from_path))
    if not config.exp_manager.create_wandb_logger and hub is None:
        yield skipped("none is needed")
        return
    if config.exp_manager.create_wandb_logger:
        yield wandb_account(environ)
    if hub is not None:
        yield hub_account(hub, environ)


def wandb_account(environ: Mapping[str, str]) -> Finding:
    mode = environ.get("WANDB_MODE", "online")
    if mode in WITHOUT_ACCOUNT:
        return ok(f"WANDB_MODE={mode}")
    if environ.get("WANDB_API_KEY") or has_login(environ):
        return ok("Weights & Biases has a key")
    hint = "export WANDB_API_KEY or `wandb login`; or WANDB_MODE=offline, or exp_manager.create_wandb_logger=false"
    return failed("exp_manager.create_wandb_logger=true, and Weights & Biases has no key", hint)


def has_login(environ: Mapping[str, str]) -> bool:
    """`wandb login` writes it to .netrc."""
    try:
        return netrc.netrc(environ.get("NETRC") or Path.home() / ".netrc").authenticators(WANDB_HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def hub_account(name: str, environ: Mapping[str, str]) -> Finding:
    home = Path(environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    if environ.get("HF_TOKEN") or (home / "token").is_file():
        return ok("Hugging Face has a token")
    if (home / "hub" / f"models--{name.replace('/', '--')}").is_dir():
        return ok(f"{name} is in {home}")
    hint = "export HF_TOKEN where the model asks for one; better: put its tokenizer into the checkpoint's folder"
    return warning(f"the checkpoint names the tokenizer {name} of the hub, and there is no token", hint)


def hub_tokenizer(checkpoint: Path) -> str | None:
    """The name on the hub, of a folder of NeMo's or Aligner's that brings no tokenizer (checkpoint/importers)."""
    if not layout.is_foreign(checkpoint) or (checkpoint / layout.TOKENIZER).is_dir():
        return None
    if not (checkpoint / layout.CONFIG).is_file():
        return None
    section = layout.read_yaml(checkpoint / layout.CONFIG).get("tokenizer") or {}
    name = section.get("type") if section.get("library") == "huggingface" else None
    return name if name and not Path(name).is_dir() and not (checkpoint / name).is_dir() else None
