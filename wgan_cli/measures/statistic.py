"""Figures of samples, with the error that comes from their number, and beside the value of a perfect generator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wgan_cli.figure_names import FLOOR, HIGH, LOW

Figures = dict[str, float]
DRAWS = 100
"""Of the bootstrap: its standard deviations are then known to within a fourteenth."""
WIDTH = 1.96
"""Of a normal interval of 95 %, in standard deviations to each side."""
SHARES = (
    *("condition/accuracy", "memorisation/copies", "modes/within_3_std"),
    *("fidelity/precision", "fidelity/recall", "fidelity/coverage"),
)
"""Figures that are shares of samples, as all are that begin with `class_share/`, and so never above 1."""


@dataclass(frozen=True)
class Statistic:
    """Figures as a function of sets of values with one row a sample, which may be drawn again."""

    measure: Callable[..., Figures]
    sets: Sequence[Tensor]

    def figures(self) -> Figures:
        return self.measure(*self.sets)

    def with_intervals(self) -> Figures:
        """The figures, each followed by `_ci_low` and `_ci_high`: its interval of 95 % by the bootstrap (Efron, 1979).

        Each of `DRAWS` draws takes as many rows of each set, with replacement. The interval is normal, with the
        standard deviation of the draws. It ends at 0 for figures that are never below, and at 1 for shares. It is of
        the figure for sets of this size: most distances are larger between smaller sets, and so are their floors.
        Figures that end in `_floor` get none.
        """
        found = self.figures()
        names = [name for name in found if not name.endswith(FLOOR)]
        generator = torch.Generator().manual_seed(0)
        draws = [self.measure(*(_drawn(values, generator) for values in self.sets)) for _ in range(DRAWS)]
        figures: Figures = {}
        for name, value in found.items():
            figures[name] = value
            if name in names:
                low, high = _interval(value, torch.tensor([draw[name] for draw in draws], dtype=torch.float64))
                figures |= {name + LOW: low, name + HIGH: min(high, 1.0) if _is_share(name) else high}
        return figures


def _is_share(name: str) -> bool:
    return name in SHARES or name.startswith("class_share/")


def _interval(value: float, draws: Tensor) -> tuple[float, float]:
    half = WIDTH * draws.std().item()
    is_distance = value >= 0 and bool((draws >= 0).all())
    return (max(value - half, 0.0) if is_distance else value - half), value + half


def of_samples(
    measure: Callable[[Tensor], Figures], of: Callable[[Tensor], Tensor] = lambda samples: samples
) -> Callable[[Tensor, Tensor], Statistic]:
    """A statistic of samples alone, or of what `of` tells of each, in the form that `beside_floor` takes."""
    return lambda samples, _: Statistic(measure, [of(samples)])


def _drawn(values: Tensor, generator: torch.Generator) -> Tensor:
    return values[torch.randint(len(values), (len(values),), generator=generator).to(values.device)]


def beside_floor(measure: Callable[[Tensor, Tensor], Statistic], fake: Tensor, real: Tensor, other: Tensor) -> Figures:
    """Each figure between `fake` and `real` with its interval and its floor: the figure between `other` and `real`."""
    floor, figures = measure(other, real).figures(), measure(fake, real).with_intervals()
    found: Figures = {}
    for name, value in figures.items():
        found[name] = value
        figure = name.removesuffix(HIGH)
        if figure != name and figure in floor:
            found[figure + FLOOR] = floor[figure]
    return found
