"""Bytes that a rank keeps of the forward pass until backward.

Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models" (arXiv 2205.05198), count
s b h (10 + 24/t) + 5 a s^2 b / t bytes a layer in 16 bit, and everything over t with sequence parallelism. Here the
same sum for a Llama: RMSNorm, grouped queries, SwiGLU, no biases, no dropout and so no masks, and attention that
stores no scores but one float32 a head and token. Per token and layer, over t where Megatron cuts it:

    norms      2 inputs and 2 outputs of h; the outputs are the inputs of the linear layers
    attention  the fused projection (a + 2g) d, of which the values are a view; queries and keys after RoPE; context a d
    MLP        gate and up 2f, their product f

without Transformer Engine also what torch's own kernels keep: norms in float32 with the normalised values, RoPE's
cosines and sines, SiLU's output f. That sum is held to the real model by tests/nemo/test_plan_ranks.py; the one with
Transformer Engine is computed only.
"""

from dataclasses import dataclass

from nemo_hs2pref.config.architecture import Architecture
from nemo_hs2pref.config.schema.common import RunConfig
from nemo_hs2pref.launch.plan.layout import Layout
from nemo_hs2pref.launch.plan.parameters import DENSE, FC1, FC2, QKV, adapted_layers


@dataclass(frozen=True)
class MicroBatch:
    """The largest that may come: every row of model.encoder_seq_length tokens."""

    rows: int  # two a pair
    row_length: int  # tokens
    packed: bool

    @property
    def tokens(self) -> int:
        return self.rows * self.row_length


def micro_batch_of(config: RunConfig) -> MicroBatch:
    rows = config.model.micro_batch_size * config.footprint.rows
    return MicroBatch(rows, config.model.encoder_seq_length, config.data.packed_sequence)


def num_micro_batches(config: RunConfig, layout: Layout) -> int:
    """Of one data-parallel rank in an optimizer step."""
    return config.model.global_batch_size // (config.model.micro_batch_size * layout.data)


def has_fused_kernels(config: RunConfig) -> bool:
    """bfloat16 is for GPUs with Transformer Engine; float32 for machines without."""
    return config.trainer.precision == "bf16"


class LayerActivations:
    """One layer, one micro batch, one rank."""

    def __init__(self, config: RunConfig, architecture: Architecture, *, fused: bool) -> None:
        self.sizes, self.fused = architecture, fused
        self.tensor = config.model.tensor_model_parallel_size
        self.sequence_cut = self.tensor if config.model.sequence_parallel else 1
        self.width = 2 if config.trainer.precision == "bf16" else 4
        self.selective = config.model.activations_checkpoint_granularity == "selective"
        tuning = config.model.peft.lora_tuning
        self.adapter_size = tuning.adapter_dim if tuning else 0
        self.adapted = adapted_layers(config)
        self.all_trained = tuning is None

    def layer(self, batch: MicroBatch, *, mlp_tokens: int) -> int:
        return self.attention(batch) + self.mlp(mlp_tokens)

    def block_input(self, batch: MicroBatch) -> int:
        """What full recomputation keeps of a block of layers."""
        return batch.tokens * self.sizes.hidden_size * self.width // self.sequence_cut

    def norm(self, tokens: int, reader: str) -> int:
        """Its input, 1 / root mean square in float32, and its output where `reader`, a linear layer, needs it."""
        own = tokens // self.sequence_cut
        output = self.sizes.hidden_size * self.width
        if self.all_trained:
            return self.norm_input(tokens) + own * output
        # an adapter gathers the sequence that it reads
        return self.norm_input(tokens) + tokens * output * (reader in self.adapted)

    def norm_input(self, tokens: int) -> int:
        kept = self.width if self.fused else 4 + 4 * self.all_trained
        return tokens // self.sequence_cut * (self.sizes.hidden_size * kept + 4)

    def attention(self, batch: MicroBatch) -> int:
        sizes, tokens = self.sizes, batch.tokens
        keys = sizes.num_query_groups * sizes.head_size
        # the kernel's output is what the next layer reads, but for packed rows that torch attends one by one and joins
        is_joined = batch.packed and not self.fused
        contexts = (not self.selective) + ((self.selective or is_joined) and self.reads(DENSE))
        cut = tokens * self.width * (sizes.qkv_size + sizes.context_size + keys + contexts * sizes.context_size)
        log_sums = 0 if self.selective else tokens * sizes.num_attention_heads * 4
        angles = 0 if self.fused else 4 * sizes.head_size * self.width * (tokens if batch.packed else batch.row_length)
        whole = self.norm(tokens, QKV) + angles + tokens * self.width * self.adapter_size * self.adapters(QKV, DENSE)
        return whole + (cut + log_sums) // self.tensor

    def mlp(self, tokens: int) -> int:
        tensors = 2 + (not self.fused) + self.reads(FC2)
        whole = self.norm(tokens, FC1) + tokens * self.width * self.adapter_size * self.adapters(FC1, FC2)
        return whole + tokens * self.width * self.sizes.ffn_hidden_size * tensors // self.tensor

    def reads(self, name: str) -> bool:
        """Does the gradient of a linear layer or of its adapter need its input."""
        return self.all_trained or name in self.adapted

    def adapters(self, *names: str) -> int:
        return sum(name in self.adapted for name in names)

    def backward(self, batch: MicroBatch) -> int:
        """Gradients of one layer's activations at the widest place, and the gathered sequence: an estimate."""
        ffn, hidden = self.sizes.ffn_hidden_size, self.sizes.hidden_size
        return batch.tokens * self.width * (3 * ffn // self.tensor + 2 * hidden)


def stored_activations(
    config: RunConfig, architecture: Architecture, layout: Layout, stage: int, *, fused: bool
) -> int:
    """Bytes on a rank of `stage` at the worst moment of Megatron's 1F1B schedule.

    Stage 0 has as many micro batches in flight as there are stages, the last one one.
    """
    model = config.model
    kept, batch = LayerActivations(config, architecture, fused=fused), micro_batch_of(config)
    is_last, num_layers = stage == layout.pipeline - 1, architecture.num_layers // layout.pipeline
    is_full = model.activations_checkpoint_granularity == "full"
    # the last layer's MLP and the final norm see the last token of each row alone: models/reward/gpt_reward_model.py
    reads_all = is_full or model.sequence_parallel or not config.footprint.reads_last_tokens
    end_tokens = batch.tokens if reads_all else batch.rows
    final_norm = kept.norm_input(end_tokens) if is_last else 0
    layer = kept.layer(batch, mlp_tokens=batch.tokens)
    in_flight = min(num_micro_batches(config, layout), layout.pipeline - stage)
    if not is_full:
        last = kept.layer(batch, mlp_tokens=end_tokens) if is_last else layer
        return in_flight * ((num_layers - 1) * layer + last) + final_norm
    given, size = kept.block_input(batch), min(model.activations_checkpoint_num_layers or 1, num_layers)
    shared = given if fused or kept.width == 4 else 0  # torch's norm keeps its input as a float32 copy
    if model.activations_checkpoint_method == "block":  # the first `size` layers one by one, the others not at all
        held, again = size * given + (num_layers - size) * layer, (layer - shared) * (size == num_layers)
    else:
        held, again = -(-num_layers // size) * given, size * layer - shared
    return in_flight * held + max(again, final_norm)  # the norm's part is freed before a block is computed again
