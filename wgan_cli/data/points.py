"""Distributions in the plane, endless and new each time: tests of whether a GAN finds every mode."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from wgan_cli.data.base import Dataset, DataSpec, View
from wgan_cli.data.endless import EndlessDataset

Pattern = Literal["ring", "grid", "swiss_roll", "moons", "spirals", "checkerboard"]


class Points(DataSpec):
    """Points (2,) in the plane.

    `ring` and `grid` are the mixtures of normals of VEEGAN (Srivastava et al., 2017) and PacGAN (Lin et al., 2018): 8
    modes on a circle of radius 1 with std 0.01, and 25 in a square grid, 2 apart, with std 0.05. `swiss_roll` is that
    of Gulrajani et al. (2017): noise of 0.25 around scikit-learn's curve, all divided by 7.5. `moons`, `spirals` (two
    each) and `checkerboard` are the usual toy sets.
    """

    kind: Literal["points"] = "points"
    shape: Pattern = "ring"
    """What the points are spread over."""
    modes: int | None = Field(default=None, ge=1, le=10_000)
    """The number of normals of `ring` (default 8) and `grid` (25; a square number)."""
    std: float | None = Field(default=None, ge=0)
    """The spread of each mode, or of the noise around a curve (0.1; of the swiss roll 1/30, of the checkerboard 0)."""
    radius: float | None = Field(default=None, gt=0)
    """Of `ring` (1)."""
    spacing: float | None = Field(default=None, gt=0)
    """Between neighbours of `grid` (2)."""

    @model_validator(mode="after")
    def _refuse_ignored_keys(self) -> "Points":
        used = {"ring": ("modes", "radius"), "grid": ("modes", "spacing")}.get(self.shape, ())
        for key in ("modes", "radius", "spacing"):
            if getattr(self, key) is not None and key not in used:
                raise ValueError(f"{key} has no meaning for shape: {self.shape}; leave it out")
        if self.shape == "grid" and math.isqrt(self.mode_count) ** 2 != self.mode_count:
            raise ValueError(f"modes of grid must be a square number, such as 25, but is {self.modes}")
        return self

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (2,)

    @property
    def view(self) -> View:
        return "plane"

    @property
    def mode_count(self) -> int:
        return self.modes or {"ring": 8, "grid": 25}.get(self.shape, 1)

    @property
    def noise(self) -> float:
        default = {"ring": 0.01, "grid": 0.05, "swiss_roll": 0.25 / 7.5, "checkerboard": 0.0}.get(self.shape, 0.1)
        return default if self.std is None else self.std

    def centres(self, device: torch.device | None = None) -> Tensor | None:
        """The centres of the modes (modes, 2) of `ring` and `grid`, computed on `device`."""
        if self.shape == "ring":
            angle = 2 * math.pi * torch.arange(self.mode_count, device=device) / self.mode_count
            return (self.radius or 1.0) * torch.stack([angle.cos(), angle.sin()], 1)
        if self.shape == "grid":
            side = math.isqrt(self.mode_count)
            ticks = (self.spacing or 2.0) * (torch.arange(side, device=device) - (side - 1) / 2)
            return torch.cartesian_prod(ticks, ticks).reshape(-1, 2)
        return None

    @property
    def mixture(self) -> tuple[Tensor, float] | None:
        centres = self.centres()
        return None if centres is None else (centres, self.noise)

    def load(self, device: torch.device) -> Dataset:
        return EndlessDataset(self.draw, device)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """New points (count, 2) on the generator's device."""
        uniform = torch.rand(3, count, generator=generator, device=generator.device)
        noise = torch.randn(count, 2, generator=generator, device=generator.device)
        centres = self.centres(generator.device)
        if centres is not None:
            chosen = (uniform[0] * len(centres)).long().clamp(max=len(centres) - 1)
            return centres[chosen] + self.noise * noise
        return _CURVES[self.shape](uniform) + self.noise * noise


def _swiss_roll(u: Tensor) -> Tensor:
    """The plane of scikit-learn's swiss roll, divided by 7.5 as in the code of Gulrajani et al."""
    angle = 1.5 * math.pi * (1 + 2 * u[0])
    return torch.stack([angle * angle.cos(), angle * angle.sin()], 1) / 7.5


def _moons(u: Tensor) -> Tensor:
    angle, lower = math.pi * u[0], (u[1] < 0.5).to(u.dtype)
    x = angle.cos() * (1 - 2 * lower) + lower
    return torch.stack([x, angle.sin() * (1 - 2 * lower) + lower / 2], 1)


def _spirals(u: Tensor) -> Tensor:
    """Two arms of one and a half turns, uniform in area."""
    turn = u[0].sqrt() * 3 * math.pi
    sign = torch.where(u[1] < 0.5, 1.0, -1.0)
    return torch.stack([turn.cos() * turn * sign, turn.sin() * turn * sign], 1) / 3


def _checkerboard(u: Tensor) -> Tensor:
    """The dark fields of a 4 x 4 board on [-2, 2]²."""
    x = 4 * u[0] - 2
    column = (4 * u[0]).floor().clamp(max=3)
    row = 2 * (u[1] * 2).floor().clamp(max=1) + column.remainder(2)
    return torch.stack([x, row + u[2] - 2], 1)


_CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "swiss_roll": _swiss_roll,
    "moons": _moons,
    "spirals": _spirals,
    "checkerboard": _checkerboard,
}
