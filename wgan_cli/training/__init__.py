"""Training: ranks, signals, steps, engines, the trainer, its figures and grids, and the loop."""
