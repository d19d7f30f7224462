"""Before a run: what it will need, and what a SLURM cluster is told. No torch, so that a login node can do it."""
