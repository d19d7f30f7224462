"""The list of checks, with their limits: what a machine must have, and with a configuration what the run needs."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.preflight import versions
from nemo_hs2pref.preflight.accounts import look_at_accounts
from nemo_hs2pref.preflight.bandwidth import look_at_bandwidth
from nemo_hs2pref.preflight.check import Check
from nemo_hs2pref.preflight.disk import look_at_disk
from nemo_hs2pref.preflight.gpus import look_at_cuda, look_at_gpus
from nemo_hs2pref.preflight.limits import look_at_limits, look_at_temporary
from nemo_hs2pref.preflight.node import Node
from nemo_hs2pref.preflight.rendezvous import look_at_rendezvous
from nemo_hs2pref.preflight.rows import look_at_data, look_at_preparation
from nemo_hs2pref.preflight.shared_folder import look_at_paths, look_at_shared_folder
from nemo_hs2pref.preflight.stored import look_at_checkpoint, look_at_resume_state
from nemo_hs2pref.preflight.tokens import look_at_template, look_at_tokenizer
from nemo_hs2pref.recipes.recipe import Recipe

LEAVE_OUT = "the driver hangs: leave the node out (sbatch --exclude=NODE) and tell its administrators"
FILE_SYSTEM = "a file system does not answer (df hangs too?): leave the node out, or ask the administrators"
SLOW_IMPORT = "the file system with the Python packages is slow; put the image on a local disk"
NAMES = "the name service does not answer; give MASTER_ADDR as an IP address"
GRACE_S = 30.0  # beyond what the nodes wait for each other, so that the check itself says who did not come


def machine_checks(config: RunConfig | None, node: Node, environ: Mapping[str, str], wait_s: float) -> list[Check]:
    """Of a node; a configuration says how many GPUs are enough."""
    return [
        Check("gpus", partial(look_at_gpus, config, environ), 60, LEAVE_OUT),
        Check("cuda", partial(look_at_cuda, config, environ), 300, LEAVE_OUT),
        Check("versions", partial(versions.look_at_versions, config), 60, FILE_SYSTEM),
        Check("imports", versions.look_at_imports, 600, SLOW_IMPORT),
        Check("limits", partial(look_at_limits, config), 30, FILE_SYSTEM),
        Check("temporary", look_at_temporary, 30, FILE_SYSTEM),
        Check("rendezvous", partial(look_at_rendezvous, node, environ, wait_s), wait_s + GRACE_S, NAMES),
    ]


def run_checks(
    recipe: Recipe[Any], config: RunConfig, resolved: DictConfig, node: Node, environ: Mapping[str, str], wait_s: float
) -> list[Check]:
    """Of what a run reads and writes."""
    shared = partial(look_at_shared_folder, Path(config.exp_manager.explicit_log_dir), node, wait_s)
    resume = partial(look_at_resume_state, recipe, config, resolved)
    return [
        Check("paths", partial(look_at_paths, config), 60, FILE_SYSTEM),
        Check("shared", shared, wait_s + GRACE_S, FILE_SYSTEM),
        Check("disk", partial(look_at_disk, config), 300, FILE_SYSTEM, first_node_only=True),
        Check("checkpoint", partial(look_at_checkpoint, recipe, config), 300, FILE_SYSTEM, first_node_only=True),
        Check("resume", resume, 300, FILE_SYSTEM, first_node_only=True),
        Check("template", partial(look_at_template, config), 60, FILE_SYSTEM, first_node_only=True),
        Check("tokenizer", partial(look_at_tokenizer, config), 300, FILE_SYSTEM, first_node_only=True),
        Check("data", partial(look_at_data, config), 600, FILE_SYSTEM, first_node_only=True),
        Check("preparation", partial(look_at_preparation, config), 60, FILE_SYSTEM, first_node_only=True),
        Check("accounts", partial(look_at_accounts, config, environ), 60, FILE_SYSTEM),
    ]


def bandwidth_check(config: RunConfig | None, node: Node, environ: Mapping[str, str], floor: float) -> Check:
    """After the others: it needs the port that they try, and processors and network for itself."""
    return Check(
        "bandwidth",
        partial(look_at_bandwidth, config, node, environ, floor),
        300,
        "the ranks do not meet: does another check fail on some node? NCCL_DEBUG=INFO tells more",
    )
