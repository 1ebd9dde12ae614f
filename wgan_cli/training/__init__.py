"""Training: ranks, signals, steps, engines, the trainer, its reports and the loop."""
