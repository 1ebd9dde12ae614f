"""A run's folder: its checkpoints, the files that grow, its readers, and the list of runs."""
