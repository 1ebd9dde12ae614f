"""Pictures for people. matplotlib is imported here alone, and only when a picture is drawn."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wgan_cli.data import DataSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = NDArray[np.uint8]

# Okabe and Ito's palette: told apart by colour-blind readers too.
TARGET, GENERATED = "#000000", "#E69F00"


def to_pixels(images: Tensor) -> Pixels:
    """Images (N, C, H, W) in [-1, 1] as uint8 (N, H, W, C), each value rounded to the nearest."""
    scaled = images.float().add(1).mul(255 / 2).round().clamp(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).cpu().numpy()


def picture(samples: Tensor, data: DataSpec) -> Pixels:
    """Generated `samples` (N, *shape) as one picture (H, W, C): a grid of images, or their density."""
    return image_grid(samples) if data.is_image else rendered(density_figure(samples, data))


def image_grid(images: Tensor) -> Pixels:
    """Images (N, C, H, W) in [-1, 1] as one near-square grid, row by row: (H, W, C)."""
    from torchvision.utils import make_grid

    columns = int(np.ceil(np.sqrt(len(images))))
    return to_pixels(make_grid(images.cpu(), nrow=columns, padding=2, pad_value=1.0)[None])[0]


def density_figure(samples: Tensor, data: DataSpec) -> "Figure":
    """The density of all values in `samples` as a histogram, against the target's own where it is known."""
    from matplotlib.figure import Figure

    values = samples.flatten().double().cpu()
    figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.hist(values.numpy(), bins=100, density=True, color=GENERATED, label=f"generated ({len(values):,} values)")
    low, high = values.min().item(), values.max().item()
    grid = torch.linspace(low - 0.25 * (high - low) - 1, high + 0.25 * (high - low) + 1, 1000, dtype=torch.float64)
    target = data.density(grid)
    if target is not None:
        shown = target > 1e-4 * target.max()
        axes.plot(grid[shown].numpy(), target[shown].numpy(), color=TARGET, linewidth=2, label="target")
    axes.set_xlabel("value")
    axes.set_ylabel("probability density")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def rendered(figure: "Figure") -> Pixels:
    """The figure as pixels (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
