"""What the end of a run says to the person who waited for it."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from wgan_cli.bars import in_words
from wgan_cli.figure_names import FLOOR, is_figure
from wgan_cli.paths import argument
from wgan_cli.training.reporting import SCORES

FEW = 100
"""So few held-out samples tell little of samples: their own distances from each other are large."""


def summary(
    path: Path, figures: Mapping[str, float], iterations: int, seconds: float, compared: int | None = None
) -> Iterator[str]:
    """A few lines: the time of these `iterations`, what the samples are worth, and what to do with the run in `path`.

    `figures` are the newest ones by name. Each truth stands beside its floor, the value of a perfect generator. With
    how many held-out samples W1 was `compared` is told where they are few.
    """
    yield f"{iterations:,} iterations in {in_words(seconds)}; pictures of samples are in {path / 'samples'}"
    for name, value in figures.items():
        if name.startswith(SCORES) and is_figure(name):
            floor = figures.get(name + FLOOR)
            perfect = "" if floor is None else f", where a perfect generator has about {floor:.4g}"
            yield f"{name}: {value:.4g}{perfect}"
    if compared is not None and compared < FEW:
        yield f"truth/w1: {compared} held-out samples are too few to tell good samples from fair ones"
    if figures.get("critic/w1_low", 0) > 0:
        yield f"proved: W1 is larger than {figures['critic/w1_low']:.4g}, with about 95 % confidence"
    lines = (shlex.join(["wgan", command, argument(path)]) for command in ("sample", "evaluate"))
    yield "next: " + " or ".join(f"`{line}`" for line in lines)
