"""megatron-core's distributed checkpoint format: its index, tensors in and out, without megatron-core and a model."""
