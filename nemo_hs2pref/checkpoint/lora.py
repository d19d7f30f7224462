"""Adapter checkpoints: what they belong to, and how they become whole ones. No model is built, no GPU is needed."""

ADAPTER = ".adapter_layer."  # part of the name of every tensor of an adapter
