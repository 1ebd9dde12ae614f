"""`wgan plot`: draws what runs logged."""

from pathlib import Path
from typing import Annotated

import typer

from wgan_cli.commands.completion import run_folders
from wgan_cli.commands.mistaken import refuse_no_run
from wgan_cli.commands.options import a_path, an_output
from wgan_cli.errors import BadInputError

Runs = Annotated[
    list[Path],
    typer.Argument(
        parser=a_path, help="The folders of runs, drawn in one picture.", metavar="RUN", autocompletion=run_folders
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        parser=an_output,
        help="The picture: .png, .svg or .pdf; .gif or .webp shows one run through time.",
        metavar="FILE",
    ),
]
Dpi = Annotated[int, typer.Option(min=20, max=600, metavar="N", help="Dots per inch: the larger, the finer.")]


def plot(runs: Runs, out: Out = Path("plot.png"), dpi: Dpi = 100) -> None:
    """Draw what runs logged, with samples, and print the path."""
    from wgan_cli.data.places import check_apart
    from wgan_cli.plots import animation, style
    from wgan_cli.plots.curves import curves_figure
    from wgan_cli.runs.curves import read_curves

    for run in runs:
        refuse_no_run(str(run))
    style.check_path(out, "--out", (*style.ENDINGS, *animation.ENDINGS))
    moves = out.suffix in animation.ENDINGS
    if moves and len(runs) > 1:
        raise BadInputError(f"--out {out}: shows one run through time; name one, or draw these as .png")
    curves = read_curves(runs, count=0) if moves else read_curves(runs)
    for each in curves:
        check_apart(out, each.data.places, "--out")
    if moves:
        animation.save_animation(curves[0], out, dpi)
    else:
        style.save(curves_figure(curves), out, dpi)
    typer.echo(out)
