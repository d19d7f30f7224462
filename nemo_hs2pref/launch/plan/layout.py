"""Which rank does what: Megatron-Core numbers ranks tensor parallel first, then data, then pipeline."""

from dataclasses import dataclass

from nemo_hs2pref.config.rules.layout import data_parallel_size
from nemo_hs2pref.config.schema.common import RunConfig


@dataclass(frozen=True)
class Layout:
    """World size = tensor x data x pipeline."""

    nodes: int
    devices: int  # ranks a node
    tensor: int
    pipeline: int
    data: int

    @property
    def world(self) -> int:
        return self.nodes * self.devices

    def ranks(self, stage: int) -> range:
        """All ranks of a pipeline stage; each `tensor` neighbours hold one copy of it."""
        size = self.tensor * self.data
        return range(stage * size, (stage + 1) * size)

    def layers(self, stage: int, num_layers: int) -> range:
        """Transformer layers of a stage, counted from 0."""
        size = num_layers // self.pipeline
        return range(stage * size, (stage + 1) * size)

    @property
    def tensor_groups_a_node(self) -> int:
        """Tensor-parallel groups that lie on one node; 0 where one spans nodes, which is slow."""
        return self.devices // self.tensor if self.devices % self.tensor == 0 else 0


def layout_of(config: RunConfig) -> Layout:
    """Of a configuration that passed `config.check`."""
    return Layout(
        config.trainer.num_nodes,
        config.trainer.devices,
        config.model.tensor_model_parallel_size,
        config.model.pipeline_model_parallel_size,
        data_parallel_size(config),
    )
