"""The commands, a file each. `wgan_cli.cli` makes the command line of them.

Each command imports the rooms that need torch when it runs, so that help and listings answer at once.
"""
