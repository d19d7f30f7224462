"""How good a reward model is, from its scores: needs neither a model nor NeMo."""
