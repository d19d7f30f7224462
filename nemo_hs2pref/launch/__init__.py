"""Jobs for a SLURM cluster: from a configuration to sbatch and back. No torch: all of it runs on a login node."""
