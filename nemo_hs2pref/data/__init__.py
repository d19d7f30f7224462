"""Ratings and preferences, from what annotators said to batches of tokens.

A row's way: reading -> formats -> preparation (and statistics) -> prepared files -> datasets -> batches.
"""
