"""A checkpoint of a language model, for the generation loop."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nemo_hs2pref.checkpoint.families.config import ORIGIN
from nemo_hs2pref.checkpoint.layout import is_hugging_face
from nemo_hs2pref.checkpoint.opening import opened, read_config
from nemo_hs2pref.config.rules.layout import undivided
from nemo_hs2pref.data.completions import Completion, Ends, Sampling, TokenPrompt
from nemo_hs2pref.data.datasets import tokenizer_of
from nemo_hs2pref.errors import CheckpointError, ConfigError
from nemo_hs2pref.runtime.platform import machine
from nemo_hs2pref.scoring.journal import fingerprint
from nemo_hs2pref.scoring.loop import Replica
from nemo_hs2pref.scoring.nemo import precision


class Policy:
    """The language model of the checkpoint at `path`; its weights are read by `load`."""

    def __init__(self, path: Path, tensor_parallel: int = 1, pipeline_parallel: int = 1) -> None:
        if is_hugging_face(path):
            raise CheckpointError(f"{path}: a Hugging Face folder; convert it: hs2pref convert from-hf {path} DST")
        self.path, self.checkpoint = path, read_config(path)
        if "head" in self.checkpoint:
            raise CheckpointError(
                f"{path}: a reward model, which has no output layer and writes nothing; expected a language model, as "
                "`hs2pref convert from-hf` makes it"
            )
        for fault in undivided(self.checkpoint.get, tensor_parallel, pipeline_parallel):
            raise ConfigError(f"{path}: {fault}")
        self.tensor_parallel, self.pipeline_parallel = tensor_parallel, pipeline_parallel
        positions = {**self.checkpoint, **self.checkpoint.get(ORIGIN, {}).get("config", {})}
        self.num_positions: int = positions["max_position_embeddings"]
        self.tokenizer = tokenizer_of(opened(path))
        self.precision = precision(self.checkpoint)

    def fingerprint(self, **settings: Any) -> Mapping[str, Any]:
        """What its completions depend on."""
        return fingerprint(self.path, precision=self.precision, device=machine.device().type, **settings)

    def load(self) -> Replica:
        machine.prepare()
        from megatron.core import parallel_state

        from nemo_hs2pref.runtime.run.inference import Layout, load_policy  # heavy: NeMo

        layout = Layout(self.tensor_parallel, self.pipeline_parallel)
        self.model = load_policy(self.path, self.checkpoint, layout, self.precision)
        return Replica(
            parallel_state.get_data_parallel_rank(),
            parallel_state.get_data_parallel_world_size(),
            # every rank of a copy has the tokens
            is_leader=parallel_state.get_tensor_model_parallel_rank() == 0 and parallel_state.is_pipeline_first_stage(),
        )

    def complete(self, prompts: Sequence[TokenPrompt], sampling: Sampling, ends: Ends) -> list[list[Completion]]:
        """See algorithms.generation.complete."""
        from nemo_hs2pref.algorithms.generation import complete  # heavy: Megatron
        from nemo_hs2pref.models.policy.decoding import decoding

        (stage,) = self.model.get_model_module_list()
        with decoding(stage) as decoder:
            return complete(decoder, prompts, sampling, ends, self.checkpoint["vocab_size"])
