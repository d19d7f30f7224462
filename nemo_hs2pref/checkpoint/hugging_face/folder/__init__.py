"""A Hugging Face folder, opened in one way for every verb: scored, converted, combined and verified.

opened     the whole folder, after all checks
config     config.json as transformers' class of configuration, with
           keys (which are understood), values (their types), rope (how transformers 5 writes rotary embeddings)
tensors    names and shapes of the weights against it, and heads of other projects
text       the tokenizer, its size, and the template that a reward model needs
"""
