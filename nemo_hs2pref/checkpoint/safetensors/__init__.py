"""Hugging Face's weight files: which there are, what they hold, and writing them tensor by tensor."""
