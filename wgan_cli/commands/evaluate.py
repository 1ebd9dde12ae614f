"""`wgan evaluate`: measures a trained generator."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from wgan_cli.commands.options import AsJson, Best, Checkpoint, Device, Run, an_output, named_run
from wgan_cli.commands.pictures import checked_png, write_picture
from wgan_cli.commands.printing import print_figures, print_json
from wgan_cli.commands.seeds import check_seeds
from wgan_cli.errors import WganError
from wgan_cli.paths import expanded

Num = Annotated[int, typer.Option(min=2, metavar="N", help="The number of generated samples, and of real ones.")]
Seed = Annotated[
    int, typer.Option(min=0, metavar="SEED", help="The seed of the first sample; it also selects the real ones.")
]
Plot = Annotated[
    Path | None,
    typer.Option(parser=an_output, help="Draw generated samples beside real ones: a .png file.", metavar="FILE"),
]
Nearest = Annotated[
    Path | None,
    typer.Option(
        parser=an_output,
        help="Draw the samples nearest to training samples beside these: a .png file.",
        metavar="FILE",
    ),
]


def evaluate(
    run: Run = None,
    ckpt: Checkpoint = None,
    num: Num = 2000,
    seed: Seed = 0,
    as_json: AsJson = False,
    plot: Plot = None,
    nearest: Nearest = None,
    best: Best = False,
    device: Device = "auto",
) -> None:
    """Measure a trained generator, each figure beside its floor.

    \b
    truth/         distances to held-out samples, without a critic: exact W1,
                   sliced W1, the Sinkhorn divergence, limits
    frechet/       the Fréchet distance by features of a small classifier
    class_share/   the share of each class, as the classifier sees it
    condition/     of images, the share taken for the class asked for; else
                   W1 within each class or tenth of a given column
    modes/         modes that samples reach
    fidelity/      precision: the share of samples that are near real ones;
                   recall: of real ones near samples; density and coverage
                   are the same, less led astray by outliers
    memorisation/  the median distance to the nearest training sample;
                   copies: the share of samples as near to one as the
                   nearest 1 % of held-out samples are
    critic/        gap, Lipschitz constant and estimate of W1 on both splits,
                   and w1_low, the bound that the critic proves
    """
    from wgan_cli.data.places import check_apart
    from wgan_cli.devices import pick_device
    from wgan_cli.evaluation import figures as evaluation
    from wgan_cli.runs.loaded import load_run

    target = named_run(run, ckpt)
    check_seeds(seed + num - 1, num)
    plot, nearest = checked_png(plot), checked_png(nearest, "--nearest")
    loaded = load_run(target, pick_device(device), best=best)
    for path, option in ((plot, "--plot"), (nearest, "--nearest")):
        if path is not None:
            check_apart(path, loaded.config.data.places, option)
    pairs = evaluation.closest(loaded, num, seed) if nearest is not None else None
    figures = evaluation.evaluate(loaded, num, seed, shows_progress=True)
    _tell_of_few(int(figures["samples"]), num)
    right = ", and on the right " if loaded.config.data.view == "images" else ", and "
    try:
        _keep(figures, expanded(target))
        if plot is not None:
            write_picture(evaluation.scene(loaded, num, seed), plot, f"generated samples{right}real ones")
        if nearest is not None:
            write_picture(pairs, nearest, f"the samples nearest to training samples{right}these")
    finally:  # a closed pipe must not cost the files, nor a full disk the figures
        if not as_json:
            told = "each figure, its interval of 95 %, and its value for a perfect generator; --help says what they are"
            logging.getLogger("wgan").info(told)
        (print_json if as_json else print_figures)(figures)


def _tell_of_few(count: int, num: int) -> None:
    if count < num:
        told = "%d samples are compared, not %d: half of the held-out ones give the floors; data.heldout holds out more"
        logging.getLogger("wgan").info(told, count, num)


def _keep(figures: dict[str, float], run: Path) -> None:
    """Writes the figures into the folder of the run, if `run` is one."""
    from wgan_cli import files
    from wgan_cli.runs.places import holds_run

    path = run / "evaluation.json"
    if holds_run(run):
        try:
            files.write_atomically(path, json.dumps(figures, indent=2, allow_nan=False).encode() + b"\n")
        except OSError as error:
            raise WganError(f"{path}: can't be written ({error.strerror})") from error
