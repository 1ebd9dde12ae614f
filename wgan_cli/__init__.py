"""Train Wasserstein GANs from one YAML file, and know how true the critic's estimate is."""

__version__ = "0.1.0"
