"""Before a run: what it will need, and what a scheduler is told. No torch, so that a login node can do it."""
