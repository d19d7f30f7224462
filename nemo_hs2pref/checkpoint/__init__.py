"""Checkpoints: from and to Hugging Face, as NeMo reads and writes them.

`convert_from_hf` in `from_hf` is the whole way in: `hf_source` opens what the user names, `llama` turns its
tensors into megatron-core's, `model_config` says what NeMo calls the model's configuration, `distributed`
writes the weights. Nothing here builds a model, so a login node without GPU can convert a 70B checkpoint.
"""
