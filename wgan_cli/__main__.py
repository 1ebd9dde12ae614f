"""Runs `wgan` as `python -m wgan_cli`, for torchrun and for a source tree that is not installed."""

from wgan_cli.cli import main

if __name__ == "__main__":
    main()
