"""Scenes and curves that the tests of pictures draw."""

import torch
from torch import Tensor

from wgan_cli.data.base import DataSpec
from wgan_cli.plots.curves import RunCurves
from wgan_cli.plots.images import image_grid
from wgan_cli.plots.scene import Scene


def scene(samples: Tensor, data: DataSpec) -> Scene:
    """Generated samples alone, of data that needs no state to return them in the user's units."""
    return Scene(samples, data, lambda some: data.decoded(some, {}))


def curves(name: str, data: DataSpec, **figures: float) -> RunCurves:
    """A run of three logged lines with the same figures, `critic__gap` for critic/gap, and of eight grids if images."""
    lines = [{"step": step, **{key.replace("__", "/"): value for key, value in figures.items()}} for step in (1, 2, 3)]
    grids = {step: image_grid(torch.zeros(4, 1, 28, 28)) for step in range(1, 9)} if data.is_image else {}
    return RunCurves(name, lines, data, torch.randn(64, *data.sample_shape), grids)
