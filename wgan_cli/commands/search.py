"""`wgan search`: searches for the best config in a space."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from wgan_cli.commands.mistaken import refuse_no_space
from wgan_cli.commands.options import Device, a_path, an_output
from wgan_cli.errors import BadInputError, WganError

log = logging.getLogger("wgan")

SpaceFile = Annotated[
    Path,
    typer.Argument(
        parser=a_path,
        help="A YAML file: config, objective, and space with a range or choices for each key.",
        metavar="SPACE",
    ),
]
Out = Annotated[
    Path, typer.Option(parser=an_output, help="The folder of the search; each trial is a run in it.", metavar="DIR")
]
Trials = Annotated[int, typer.Option(min=1, metavar="N", help="The number of trials, of all processes together.")]
Jobs = Annotated[
    int, typer.Option(min=1, max=1024, metavar="N", help="The number of processes here that train trials.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the search in --out, or join it, if there is one; else begin it.")
]


def search(
    space: SpaceFile, out: Out, trials: Trials = 50, jobs: Jobs = 1, resume: Resume = False, device: Device = "auto"
) -> None:
    """Search for the best config in a space, and print it.

    Of an objective that runs log, the mean of the last three values counts. Trials that are clearly worse than others
    end early. Repeat the line with --resume after a stop; tasks of a job array may share one folder in this way.
    """
    refuse_no_space(str(space))
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise BadInputError("wgan search needs optuna; pip install 'wgan[search]'") from error
    from wgan_cli.search.space import read_space
    from wgan_cli.search.workers import search_space

    _report(search_space(read_space(space), out, trials, jobs=jobs, device=device, resume=resume))


def _report(done: Any) -> None:
    """Draws the importances, and prints the best config with a comment that names its run."""
    if done.unfinished:
        log.info("%d trials are still in training elsewhere; the best so far:", done.unfinished)
    best = done.best()
    if best is None:
        why = "no trial is complete: all were pruned, diverged or failed"
        raise WganError(f"{done.folder}: {why}; change the space, and search in another folder")
    try:
        _draw_importances(done)
    finally:  # a closed pipe must not cost the picture, nor a full disk the config
        run, measured, values = best
        typer.echo(f"# {run}: {measured}; the best of {len(done.ended)} trials")
        typer.echo(done.space.config(values).to_yaml(), nl=False)


def _draw_importances(done: Any) -> None:
    from wgan_cli.plots.importance import importance_figure
    from wgan_cli.plots.style import save

    shares = done.importances()
    if shares:
        path = done.folder / "importance.png"
        save(importance_figure(shares, done.space.spec.objective, len(done.ended)), path)
        log.info("%s: how much each key matters", path)
