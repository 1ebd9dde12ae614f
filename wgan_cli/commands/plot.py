"""`wgan plot`: draws what runs logged."""

from pathlib import Path
from typing import Annotated

import typer

from wgan_cli.commands.completion import run_folders
from wgan_cli.commands.options import a_path, an_output

Runs = Annotated[
    list[Path],
    typer.Argument(
        parser=a_path, help="The folders of runs, drawn in one picture.", metavar="RUN", autocompletion=run_folders
    ),
]
Out = Annotated[Path, typer.Option(parser=an_output, help="The picture: .png, .svg or .pdf.", metavar="FILE")]


def plot(runs: Runs, out: Out = Path("plot.png")) -> None:
    """Draw what runs logged, with samples of each, and print where the picture is."""
    from wgan_cli.plots.curves import curves_figure
    from wgan_cli.plots.style import check_path, save
    from wgan_cli.runs.curves import read_curves

    check_path(out, "--out")
    save(curves_figure(read_curves(runs)), out)
    typer.echo(out)
