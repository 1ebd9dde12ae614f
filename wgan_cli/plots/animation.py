"""A run through time: its grids, beside the curves so far."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wgan_cli.data.pixels import Pixels
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.files import write_atomically
from wgan_cli.plots.curves import RunCurves, draw_floors, panels_of
from wgan_cli.plots.style import RUN_COLOURS, finish, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from PIL import Image

ENDINGS = (".gif", ".webp")
MOST_FRAMES, MOST_PANELS = 80, 3
SECONDS, LONGEST, REST = 8.0, 0.5, 2.0
"""Of all frames, of one frame at most, and of the last one more."""


def frames(run: RunCurves, dpi: int = 100) -> Iterator[Pixels]:
    """One picture (H, W, 3) for each grid of a run, at most `MOST_FRAMES` of them and evenly through time.

    The axes are those of the whole run, so that only the curves move. Raises `BadInputError` for a run without grids.
    """
    from matplotlib.figure import Figure

    if not run.grids:
        raise BadInputError(f"{run.name}: has no pictures of samples yet, so there is nothing to show through time")
    steps = sorted(run.grids)
    chosen = [steps[round(i)] for i in np.linspace(0, len(steps) - 1, min(MOST_FRAMES, len(steps)))]
    panels = panels_of([run])[:MOST_PANELS]
    figure = Figure(figsize=(10, 5), dpi=dpi, layout="constrained")
    cells = figure.add_gridspec(max(len(panels), 1), 2 if panels else 1, width_ratios=[1.2, 1] if panels else None)
    picture = figure.add_subplot(cells[:, 0])
    image = picture.imshow(run.grids[chosen[0]], cmap="gray", vmin=0, vmax=255)
    picture.set_axis_off()
    all_axes = [figure.add_subplot(cells[row, 1]) for row in range(len(panels))]
    curves = [
        curve
        for axes, (title, unit, names) in zip(all_axes, panels, strict=True)
        for curve in _curves(axes, title, unit, names, run)
    ]
    if all_axes:
        all_axes[-1].set_xlabel("iteration")
    picture.set_title(run.name, fontsize=10)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once: all frames have the same axes, and are drawn sooner
    for step in chosen:
        image.set_data(run.grids[step])
        picture.set_title(f"{run.name}: iteration {step:,}", fontsize=10)
        for line, at, values in curves:
            so_far = at <= (step if step < chosen[-1] else np.inf)  # the last one shows all that was logged since
            line.set_data(at[so_far], values[so_far])
        yield rendered(figure)


def _curves(axes: "Axes", title: str, unit: str, names: tuple[str, ...], run: RunCurves) -> "list[_Curve]":
    """The curves of a panel, drawn in full once, which fixes the axes."""
    curves: list[_Curve] = []
    for name, colour in zip(names, RUN_COLOURS, strict=False):
        points = [(line["step"], line[name]) for line in run.lines if name in line]
        if points:
            at, values = np.array(points).T
            (drawn,) = axes.plot(at, values, ".-", color=colour, linewidth=1.2, markersize=3, label=name)
            curves.append((drawn, at, values))
    draw_floors(axes, names, [run])
    axes.set_xlim(0, max(1, *(line["step"] for line in run.lines)))
    axes.set_ylim(axes.get_ylim())
    axes.set_title(title, fontsize=9)
    finish(axes, unit)
    return curves


_Curve = tuple["Line2D", Any, Any]
"""A drawn line, and all of its iterations and values."""


def save_animation(run: RunCurves, path: Path, dpi: int = 100) -> None:
    """Writes the frames as an animated GIF or WebP, as the ending of `path` says: whole, or not at all."""
    from PIL import Image

    first, *others = (_in_colour(Image.fromarray(frame), path.suffix) for frame in frames(run, dpi))
    each = min(LONGEST, SECONDS / (1 + len(others)))
    durations = [round(1000 * each)] * len(others) + [round(1000 * (each + REST))]
    content = io.BytesIO()
    first.save(content, path.suffix[1:].upper(), save_all=True, append_images=others, duration=durations, loop=0)
    try:
        write_atomically(path, content.getvalue())
    except OSError as error:
        raise WganError(f"{path}: can't be written ({error.strerror})") from error


def _in_colour(image: "Image.Image", ending: str) -> "Image.Image":
    """The frame; in a .gif by 256 colours that keep curves apart, which are few pixels beside a grey picture."""
    from PIL import Image

    return image.quantize(256, Image.Quantize.MAXCOVERAGE) if ending == ".gif" else image
