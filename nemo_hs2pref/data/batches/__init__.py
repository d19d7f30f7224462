"""Micro batches: tokens, which every model reads, and beside them what an objective needs to know of the rows."""
