"""Rules between keys, each a small function that yields a sentence for what cannot work.

They need no NeMo, no GPU and no model, so a login node can run them before anything queues.
"""
