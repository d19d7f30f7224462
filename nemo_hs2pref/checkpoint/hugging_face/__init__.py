"""Hugging Face's models to checkpoints of ours and back, with the reward head."""
