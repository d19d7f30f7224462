"""Megatron parts that no algorithm owns."""
