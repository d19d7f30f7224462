"""Policies: log-probabilities of the tokens of responses."""
