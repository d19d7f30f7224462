"""Reward models: a head on the last token in the place of the output layer."""
