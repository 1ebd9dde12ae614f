"""Training: ranks, signals, steps, engines, the trainer, its judge, figures and grids, and the loop."""
