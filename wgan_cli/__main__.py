"""`python -m wgan_cli` is `wgan`: what torchrun and an uninstalled source tree need."""

from wgan_cli.cli import main

if __name__ == "__main__":
    main()
