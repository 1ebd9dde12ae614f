"""What a picture of samples shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wgan_cli.data import DataSpec
from wgan_cli.data.pixels import Array
from wgan_cli.plots.style import GENERATED, TARGET, run_colours
from wgan_cli.plots.surface import Surface

MOST_CLASSES = 10
"""Classes that are shown apart from each other."""


def printable(name: str) -> str:
    """A name of the user's as one line of characters that can be drawn."""
    return "".join(character if character.isprintable() else "?" for character in name)


def _markup(name: str) -> str:
    """A name as matplotlib draws it as it stands: not as a formula, and not left out of legends."""
    text = printable(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


class Side(NamedTuple):
    """Samples that are shown together, in the user's units and with channels first."""

    name: str
    """As matplotlib takes it."""
    colour: str
    values: Array

    @property
    def is_real(self) -> bool:
        return self.colour == TARGET


@dataclass(frozen=True)
class Scene:
    """What a picture of samples shows. `decode` gives the user's units; real samples and the critic's surface, which
    only points in the plane have, may be missing."""

    samples: Tensor
    data: DataSpec
    decode: Callable[[Tensor], Array]
    real: Tensor | None = None
    surface: Surface | None = None
    columns: int | None = None
    """Of a grid of images; None for a near-square one."""
    classes: Sequence[str] | None = None
    """The class of each sample, if the picture is to tell them apart."""
    is_real: bool = False
    """Whether `samples` are real ones, shown alone."""

    def sides(self, count: int) -> list[Side]:
        """The samples of each side, at most `count` of one: generated ones, a side a class if there are several but
        not too many; and real ones."""
        sides = [("real", TARGET, self.samples)] if self.is_real else self._generated()
        if self.real is not None:
            sides.append(("real", TARGET, self.real))
        return [
            Side(
                _markup(name) + ("" if len(samples) <= count else f", {count:,} of {len(samples):,}"),
                colour,
                self.channels_first(self.decode(samples[:count])),
            )
            for name, colour, samples in sides
        ]

    def _generated(self) -> list[tuple[str, str, Tensor]]:
        names = list(dict.fromkeys(self.classes or ()))
        if self.classes is None or not 2 <= len(names) <= MOST_CLASSES:
            return [("generated", GENERATED, self.samples)]
        of_class = [torch.tensor([each == name for each in self.classes]) for name in names]
        return [
            (name, colour, self.samples[chosen.to(self.samples.device)])
            for name, colour, chosen in zip(names, run_colours(len(names)), of_class, strict=True)
        ]

    def channels_first(self, values: Array) -> Array:
        """Decoded samples (N, C, ...), whichever layout the user's have."""
        wanted = self.data.sample_shape
        if values.ndim == len(wanted):  # one channel, without an axis of its own
            return values[:, None]
        return values if values.shape[1:] == wanted else np.moveaxis(values, -1, 1)

    def name(self, column: int) -> str:
        names = self.data.value_names
        return names[column] if names else f"x{column + 1}"
