"""`wgan distance`: measures the distance between two sets of samples."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from wgan_cli.commands.completion import METHODS, methods
from wgan_cli.commands.mistaken import refuse_no_samples
from wgan_cli.commands.options import AsJson, Drop, an_output, listed
from wgan_cli.commands.printing import print_figures, print_json
from wgan_cli.commands.seeds import check_seeds
from wgan_cli.errors import BadInputError

A = Annotated[
    str,
    typer.Argument(help="Samples: a file, a folder or .zip of pictures, or a dataset such as mnist:test.", metavar="A"),
]
B = Annotated[str, typer.Argument(help="Samples to compare with.", metavar="B")]
Method = Annotated[
    str,
    typer.Option(help=f"{', '.join(METHODS[:-1])} or {METHODS[-1]}.", metavar="METHOD", autocompletion=methods),
]
Order = Annotated[float, typer.Option("--p", min=1, metavar="P", help="The order p of W_p, with costs ‖x − y‖^p.")]
Epsilon = Annotated[
    float | None,
    typer.Option(help="Sinkhorn's blur, in the unit of the cost. [default: mean cost / 100]", metavar="BLUR"),
]
Num = Annotated[int, typer.Option(min=1, metavar="N", help="The most samples of each set; --seed selects them.")]
Seed = Annotated[
    int, typer.Option(min=0, metavar="SEED", help="The seed of the selection, the directions and the critic.")
]
Key = Annotated[str | None, typer.Option(help="The array of .npz files that have one of this name.", metavar="NAME")]
Scale = Annotated[bool, typer.Option("--scale", help="Divide each column by its standard deviation in B.")]
Config = Annotated[
    str | None, typer.Option(help="YAML of the critic for critic, bounds: critic, lipschitz, ...", metavar="FILE")
]
Confidence = Annotated[
    float | None,
    typer.Option(min=0.5, max=0.999999, metavar="SHARE", help="Of each limit of --method bounds. [default: 0.95]"),
]
Plot = Annotated[
    Path | None,
    typer.Option(parser=an_output, help="Draw costs and plan (exact, sinkhorn): .png, .svg, .pdf.", metavar="FILE"),
]


def distance(
    a: A,
    b: B,
    method: Method = "exact",
    p: Order = 1,
    epsilon: Epsilon = None,
    num: Num = 2000,
    seed: Seed = 0,
    key: Key = None,
    drop: Drop = None,
    scale: Scale = False,
    config: Config = None,
    confidence: Confidence = None,
    as_json: AsJson = False,
    plot: Plot = None,
) -> None:
    """Measure the distance between two sets of samples."""
    import torch

    from wgan_cli.evaluation.critic_fit import load_fits
    from wgan_cli.evaluation.distances import Problem, measure
    from wgan_cli.evaluation.points import read_points
    from wgan_cli.transport.confidence import CONFIDENCE

    refuse_no_samples(a)
    refuse_no_samples(b)
    check_seeds(seed)
    _refuse_contradictions(method, config, confidence)
    plot = _checked_plot(plot, method)
    generator = torch.Generator().manual_seed(seed)
    points = read_points([a, b], num, generator, listed(drop), key)
    if not scale:
        points.tell_of_widest()
    x, y = (points.scaled() if scale else points).sets
    fits, confidence = load_fits(config), confidence or CONFIDENCE
    problem = Problem(
        x, y, p=p, epsilon=epsilon, seed=seed, fits=fits, confidence=confidence, with_plan=plot is not None
    )
    found = measure(problem, method)
    try:
        if plot is not None and found.plan is not None:
            _draw(problem, found.plan, plot)
    finally:  # a closed pipe must not cost the picture, nor a full disk the figures
        sizes = {"samples": [len(x), len(y)], "features": x.shape[1]}
        (print_json if as_json else print_figures)({"method": method, **sizes, **found.figures})


def _refuse_contradictions(method: str, config: str | None, confidence: float | None) -> None:
    """Refuses options that the method would ignore."""
    if config is not None and method not in ("critic", "bounds"):
        raise BadInputError("--config: is for --method critic or bounds")
    if confidence is not None and method != "bounds":
        raise BadInputError("--confidence: is for --method bounds")


def _checked_plot(plot: Path | None, method: str) -> Path | None:
    """The path of the picture, which can be drawn and written there."""
    from wgan_cli.evaluation.distances import WITH_PLAN
    from wgan_cli.plots.style import check_path

    if plot is None:
        return None
    if method not in WITH_PLAN:
        raise BadInputError(f"--plot: {method} has no plan to draw; use {' or '.join(WITH_PLAN)}")
    check_path(plot, "--plot")
    return plot


def _draw(problem: Any, plan: Any, path: Path) -> None:
    from wgan_cli.plots.plan import plan_figure
    from wgan_cli.plots.style import save

    save(plan_figure(problem.x, problem.y, plan, problem.p), path)
    logging.getLogger("wgan").info("%s: costs and plan", path)
