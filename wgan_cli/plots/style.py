"""What all pictures share: colours, axes, rendering and saving. matplotlib is imported when a picture is drawn."""

import io
import math
from collections.abc import Sequence
from colorsys import hsv_to_rgb
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from wgan_cli.data import DataSpec
from wgan_cli.data.pixels import Pixels
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: colour-blind readers can distinguish them. Black is kept for real samples and targets.
TARGET, GENERATED = "#000000", "#E69F00"
RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")


def run_colours(count: int) -> list[str]:
    """One colour for each of `count` runs: those of `RUN_COLOURS` as far as they go, else hues in equal steps, light
    and dark in turn, which are all different."""
    from matplotlib.colors import to_hex

    if count <= len(RUN_COLOURS):
        return list(RUN_COLOURS[:count])
    return [to_hex(hsv_to_rgb(i / count, 0.9, 0.55 if i % 2 else 0.9)) for i in range(count)]


ENDINGS = (".png", ".svg", ".pdf")


def check_path(path: Path, option: str, endings: Sequence[str] = ENDINGS) -> None:
    """Refuses what `save` could not write there, or what has another of the `endings`, before anything is computed."""
    if path.suffix not in endings:
        raise BadInputError(f"{option} {path}: must end in {', '.join(endings[:-1])} or {endings[-1]}")
    if not path.parent.is_dir():
        raise BadInputError(f"{option} {path}: there is no folder {path.parent}; make it first")


def save(figure: "Figure", path: Path, dpi: int = 100) -> None:
    """Writes the figure as PNG, SVG or PDF, as the ending of `path` says: whole, or not at all."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=dpi)
    try:
        write_atomically(path, content.getvalue())
    except OSError as error:
        raise WganError(f"{path}: can't be written ({error.strerror})") from error


def png(pixels: Pixels) -> bytes:
    """A picture (H, W, C) as the content of a PNG; one channel is grey."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_png(path: Path, pixels: Pixels) -> None:
    """Writes a picture (H, W, C) as PNG. Raises `OSError` where it can't."""
    write_atomically(path, png(pixels))


def rendered(figure: "Figure") -> Pixels:
    """The figure as pixels (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def finish(axes: "Axes", unit: str) -> None:
    """Labels the y-axis with its unit, and draws grid and legend."""
    axes.set_ylabel(unit)
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def new_label(axes: "Axes", label: str) -> str | None:
    """The label, or None where the legend of the axes has it already."""
    return None if label in axes.get_legend_handles_labels()[1] else label


def bins(count: int, most: int = 60) -> int:
    """How many bins a histogram of `count` values has: their square root, so that neither bins nor values are few."""
    return min(most, math.ceil(math.sqrt(count)))


def draw_target(axes: "Axes", data: DataSpec) -> None:
    """The whole of the target's density, where it is known; labelled once, however many runs share it."""
    mean, std = (data.targets.get(f"samples/{name}") for name in ("mean", "std"))
    if mean is None or std is None:
        return
    grid = torch.linspace(mean - 4 * std, mean + 4 * std, 1000, dtype=torch.float64)
    density = data.density(grid)
    if density is not None:
        axes.plot(grid.numpy(), density.numpy(), color=TARGET, linewidth=2, label=new_label(axes, "target"))
