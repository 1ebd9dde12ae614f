"""The command line `wgan`: its commands in the order of its help, and its entry point."""

import sys
from typing import Annotated

import typer

from wgan_cli import __version__
from wgan_cli.commands.boundary import exit_code
from wgan_cli.commands.configs import configs
from wgan_cli.commands.data import data
from wgan_cli.commands.distance import distance
from wgan_cli.commands.evaluate import evaluate
from wgan_cli.commands.export import export
from wgan_cli.commands.help import Command
from wgan_cli.commands.init import init
from wgan_cli.commands.plot import plot
from wgan_cli.commands.runs import runs
from wgan_cli.commands.sample import sample
from wgan_cli.commands.search import search
from wgan_cli.commands.train import train

app = typer.Typer(
    name="wgan",
    help="Train Wasserstein GANs from one YAML file, and know how true the critic's estimate is.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _command in (init, train, sample, evaluate, export, distance, data, plot, runs, search, configs):
    app.command(cls=Command)(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wgan {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train Wasserstein GANs from one YAML file, and know how true the critic's estimate is."""


def main() -> None:
    """Runs the command of `sys.argv`, and exits with its code."""
    sys.exit(exit_code(lambda: app(standalone_mode=False, prog_name="wgan")))
