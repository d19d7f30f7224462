"""A Llama as Hugging Face holds it and as megatron-core does: tensors and configuration, both ways."""
