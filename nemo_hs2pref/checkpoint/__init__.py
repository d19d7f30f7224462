"""Checkpoints: from and to Hugging Face, as NeMo reads and writes them.

Everything here but `megatron` works without a model, a GPU and NeMo, and holds a few tensors at a time: so a login
node converts a 70B checkpoint.

    in     `hugging_face.from_hf`: `source` opens what the user names, a folder by `hugging_face.folder` as every other
           verb does; `families.to_mcore` makes pieces of megatron-core's tensors of its tensors, `families.config`
           says what NeMo calls the configuration, `torch_dist.writing` writes
    out    `hugging_face.to_hf`: `torch_dist.reading` reads, `families.from_mcore` makes a Llama of it,
           `safetensors.shards` writes; beside the weights lie `tokenizer`'s tokenizer and `card`'s README.md
    heads  `reward_head` has a head and its home with us; `hugging_face.layouts` names Hugging Face's, `head` reads them
           and `ending` writes them

Packages and modules, each of which imports only those before it: train_state, pushed, finite, file_list,
torch_dist, safetensors, resumed_state, layout, saved_run, identity, reward_head, families, described, importers,
opening, standardization, adapters, hugging_face, merging, verification, inspection, small_models, megatron.
"""
