"""Jobs of a SLURM cluster: what sbatch is told, what is kept of it, and how the job stands."""
