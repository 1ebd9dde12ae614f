"""A run's folder: checkpoints, figures and grids, their readers, and the list of runs."""
