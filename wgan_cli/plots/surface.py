"""A critic in the plane, as a surface of its scores with arrows of its slope."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from wgan_cli.data.pixels import Array
from wgan_cli.lipschitz.base import Critic

Extent = tuple[float, float, float, float]
"""The left, right, lower and upper end of a part of the plane."""


@dataclass(frozen=True)
class Surface:
    """A critic in the plane: its scores (H, W), from the lower left on, and its slopes (N, 2) at points (N, 2)."""

    extent: Extent
    scores: Array
    points: Array
    slopes: Array

    @classmethod
    def around(cls, samples: Tensor, critic: Critic) -> Self:
        """Where samples (N, 2) are, and a quarter beyond."""
        extent = extent_of(samples.cpu().numpy())
        fine, coarse = (_mesh(extent, count).to(samples) for count in (60, 15))
        with torch.no_grad():
            scores = critic(fine).reshape(60, 60)
        coarse.requires_grad_()
        with torch.enable_grad():
            (slopes,) = torch.autograd.grad(critic(coarse).sum(), coarse)
        return cls(extent, *(tensor.detach().cpu().numpy() for tensor in (scores, coarse, slopes)))


def extent_of(points: Array) -> Extent:
    """Where points (N, 2) are, and a quarter beyond."""
    low, high = points.min(0), points.max(0)
    margin = 0.25 * (high - low).max() + 1e-3
    return low[0] - margin, high[0] + margin, low[1] - margin, high[1] + margin


def draw_surface(axes: Any, surface: Surface) -> None:
    """The critic's scores as colours, and the direction in which they rise as arrows."""
    axes.imshow(surface.scores, extent=surface.extent, origin="lower", cmap="viridis", interpolation="bilinear")
    axes.quiver(*surface.points.T, *surface.slopes.T, color="white", angles="xy", width=0.004)
    axes.set_title("critic's score and slope", fontsize=10)


def _mesh(extent: Extent, count: int) -> Tensor:
    x, y = torch.linspace(*extent[:2], count), torch.linspace(*extent[2:], count)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
