"""Checkpoints: from and to Hugging Face, as NeMo reads and writes them.

Everything here but `weights` and `training_state` works without a model, a GPU and NeMo, and holds a few tensors at a
time: so a login node converts a 70B checkpoint.

    in     `from_hf`: `hf_source` opens what the user names, `llama_to_mcore` makes pieces of megatron-core's tensors of
           its tensors, `model_config` says what NeMo calls the configuration, `distributed` writes
    out    `to_hf`: `plain_tensors` reads, `llama_from_mcore` makes a Llama of it, `safetensors_shards` writes; beside
           the weights lie `reward_tokenizer`'s tokenizer and `model_card`'s README.md
    heads  `reward_head` has a head and its homes; `hf_layouts` names Hugging Face's, `hf_ending` writes them
"""
