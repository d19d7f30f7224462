"""bfloat16 weights with float32 main parameters (megatron_amp_O2) and a float32 head, as on the cluster."""

import json
from collections.abc import Callable
from pathlib import Path

WORKER = Path(__file__).parent / "layouts_worker.py"
BFLOAT16 = ["parallel=single", "trainer.precision=bf16", "model.megatron_amp_O2=true"]


def test_a_float32_head_on_bfloat16_weights_resumes_bitwise(
    tmp_path: Path, llama_tiny: Path, sample: Path, launch: Callable[..., str]
) -> None:
    """Megatron-LM issue 2777: the optimizer state of a group with both dtypes went to the wrong parameters."""
    out = tmp_path / "out"
    launch(WORKER, llama_tiny, sample, out, out, *BFLOAT16)
    result = json.loads((out / "result.json").read_text())
    assert result["resumed"] == result["losses"][5:]
