"""Checkpoints that NeMo 1.x, NeMo-Aligner and NeMo 2.0 wrote, as ours: a view that copies no weights."""
