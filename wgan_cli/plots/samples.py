"""Pictures of samples: images, densities, tables, series, fields, volumes and points in the plane."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from wgan_cli.data import DataSpec
from wgan_cli.data.pixels import Array, Pixels, scale, to_pixels
from wgan_cli.plots.style import GENERATED, TARGET, bins, draw_target, finish, rendered
from wgan_cli.plots.surface import Surface, draw_surface, extent_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    is_real: bool = False
    """Whether `samples` are real ones, shown alone."""

    def sides(self, count: int) -> list[tuple[str, str, Array]]:
        """Title, colour and at most `count` samples, in the user's units and with channels first, of each side."""
        sides = [("real", TARGET, self.samples) if self.is_real else ("generated", GENERATED, self.samples)]
        if self.real is not None:
            sides.append(("real", TARGET, self.real))
        return [
            (
                name if len(samples) <= count else f"{name}, {count:,} of {len(samples):,}",
                colour,
                self.channels_first(self.decode(samples[:count])),
            )
            for name, colour, samples in sides
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


def picture(scene: Scene) -> Pixels:
    """The samples as one picture (H, W, C), in the view that suits their data."""
    return drawing(scene)()


def drawing(scene: Scene) -> Callable[[], Pixels]:
    """What draws `picture(scene)`, on any thread and at any time: it needs no device and no network any more."""
    images = scene if scene.data.view == "images" else _as_images(scene)
    if images is not None:
        pixels = _images(images)
        return lambda: pixels
    real = None if scene.real is None else scene.real.cpu()
    on_cpu = replace(scene, samples=scene.samples.cpu(), real=real)
    return lambda: rendered(_VIEWS[scene.data.view](on_cpu))


def _as_images(scene: Scene) -> Scene | None:
    """The scene of arrays that are pictures: of bytes, in 1, 3 or 4 channels. None for others."""

    def pictures(samples: Tensor) -> Tensor:
        return scale(torch.from_numpy(np.ascontiguousarray(scene.channels_first(scene.decode(samples)))))

    if scene.data.view != "fields" or scene.data.sample_shape[0] not in (1, 3, 4):
        return None
    if scene.decode(scene.samples[:1]).dtype != np.uint8:
        return None
    if scene.real is None:
        return replace(scene, samples=pictures(scene.samples))
    return replace(scene, samples=pictures(scene.samples[:MOST_IMAGES]), real=pictures(scene.real[:MOST_IMAGES]))


def _images(scene: Scene) -> Pixels:
    if scene.real is None:
        return image_grid(scene.samples, scene.columns)
    return _beside(*(image_grid(side[:MOST_IMAGES], scene.columns) for side in (scene.samples, scene.real)))


MOST_IMAGES = 100
"""Of each side, where generated images stand beside real ones."""


WORD_HEIGHT = 14
"""In pixels, of the line above each of two grids."""


def _beside(left: Pixels, right: Pixels) -> Pixels:
    """Two grids with a white gap between them and a word above each, the generated one on the left."""
    height = max(len(left), len(right))
    padded = [
        np.concatenate(
            [_word(word, side), np.pad(side, ((0, height - len(side)), (0, 0), (0, 0)), constant_values=255)]
        )
        for word, side in (("generated", left), ("real", right))
    ]
    gap = np.full((len(padded[0]), 16, left.shape[2]), 255, dtype=np.uint8)
    return np.concatenate([padded[0], gap, padded[1]], axis=1)


def _word(word: str, side: Pixels) -> Pixels:
    """A word on white, as wide and with as many channels as a grid."""
    from PIL import Image, ImageDraw

    _, width, channels = side.shape
    bar = Image.new("L", (width, WORD_HEIGHT), 255)
    ImageDraw.Draw(bar).text((2, 1), word, fill=0)
    pixels = np.repeat(np.asarray(bar)[:, :, None], channels, axis=2)
    if channels == 4:
        pixels[:, :, 3] = 255
    return pixels


def image_grid(images: Tensor, columns: int | None = None) -> Pixels:
    """Images (N, C, H, W) in [-1, 1] as one grid, near-square or with so many columns, row by row: (H, W, C)."""
    from torchvision.utils import make_grid

    columns = columns or math.ceil(math.sqrt(len(images)))
    return to_pixels(make_grid(images.cpu(), nrow=columns, padding=2, pad_value=1.0)[None])[0]


def density_figure(scene: Scene) -> "Figure":
    """A histogram of all values, with the target's density where it is known."""
    from matplotlib.figure import Figure

    values = scene.samples.flatten().double().cpu()
    figure = Figure(figsize=(6, 4), dpi=100)  # fixed margins and one polygon draw fast: training waits for it
    axes = figure.add_axes((0.11, 0.12, 0.87, 0.85))
    label = f"{'real' if scene.is_real else 'generated'} ({len(values):,} values)"
    axes.hist(values.numpy(), bins=bins(len(values)), density=True, histtype="stepfilled", color=GENERATED, label=label)
    draw_target(axes, scene.data, values.min().item(), values.max().item())
    axes.set_xlabel("value")
    finish(axes, "probability density")
    return figure


MOST_COLUMNS = 8
"""Tables with more columns are shown by their moments."""


def table_figure(scene: Scene) -> "Figure":
    """Marginal densities and scatter plots of pairs of columns; of many columns the moments, generated against real."""
    columns = scene.data.sample_shape[0]
    return _pairs_figure(scene, columns) if columns <= MOST_COLUMNS else _moments_figure(scene)


def _pairs_figure(scene: Scene, columns: int) -> "Figure":
    from matplotlib.figure import Figure

    sides = scene.sides(1000)
    size = max(4.0, 1.7 * columns)
    figure = Figure(figsize=(size, size), dpi=100, layout="constrained")
    grid = figure.subplots(columns, columns, squeeze=False)
    for row in range(columns):
        for column in range(columns):
            axes = grid[row, column]
            if column > row:
                axes.set_axis_off()
                continue
            for name, colour, values in sides:
                x, y = (values[:, i].astype(float) for i in (column, row))
                if row == column:
                    axes.hist(x, bins=_edges(sides, column), density=True, histtype="step", color=colour, label=name)
                else:
                    axes.plot(x, y, ".", color=colour, markersize=1.5, alpha=0.5)
            axes.tick_params(labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
            if row == columns - 1:
                axes.set_xlabel(scene.name(column), fontsize=8)
            if column == 0:
                axes.set_ylabel("density" if row == 0 else scene.name(row), fontsize=8)
    handles, names = grid[0, 0].get_legend_handles_labels()  # in the empty corner, where it hides no curve
    grid[0, -1].legend(handles, names, loc="upper right", frameon=False, fontsize=7)
    return figure


def _edges(sides: list[tuple[str, str, Array]], column: int) -> Array:
    """The bins of a column, the same for both sides: a bin a value where few whole numbers occur."""
    low, high = _limits(sides, column)
    count = bins(min(len(values) for _, _, values in sides), MOST_BINS)
    if high - low < MOST_BINS and all(
        (values[:, column] == np.rint(values[:, column])).all() for _, _, values in sides
    ):
        return np.arange(math.floor(low), math.ceil(high) + 2) - 0.5
    return np.linspace(low, high, count + 1)


MOST_BINS = 39


def _limits(sides: list[tuple[str, str, Array]], column: int) -> tuple[float, float]:
    """The range of a column that holds all but the last 0.2 % of either side; never empty."""
    ranges = [np.quantile(values[:, column].astype(float), [0.001, 0.999]) for _, _, values in sides]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _moments_figure(scene: Scene) -> "Figure":
    """Means, standard deviations and correlations of all columns, generated against real."""
    from matplotlib.figure import Figure

    moments = [(name, _moments(values.astype(float))) for name, _, values in scene.sides(5000)]
    figure = Figure(figsize=(12, 4), dpi=100, layout="constrained")
    for axes, title in zip(figure.subplots(1, 3), ("mean", "standard deviation", "correlation"), strict=True):
        values = moments[0][1][title]
        if len(moments) == 1:
            axes.plot(values, ".", color=GENERATED, markersize=3)
            axes.set_xlabel("column" if title != "correlation" else "pair of columns")
        else:
            real = moments[1][1][title]
            axes.plot(real, values, ".", color=GENERATED, markersize=3)
            axes.axline((real.min(), real.min()), slope=1, color=TARGET, linewidth=1, label="equal")
            axes.set_xlabel(f"{title} of real columns")
        finish(axes, f"{title} of {'real' if scene.is_real else 'generated'} columns")
    return figure


MOST_CORRELATED = 100
"""Columns whose correlations are shown, spread evenly over a wider table: pairs grow with their square."""


def _moments(values: Array) -> dict[str, Array]:
    columns = values.shape[1]
    chosen = values[:, np.linspace(0, columns - 1, min(columns, MOST_CORRELATED)).astype(int)]
    with np.errstate(invalid="ignore", divide="ignore"):  # a constant column has no correlation
        correlations = np.nan_to_num(np.corrcoef(chosen.T))
    pairs = np.triu_indices(chosen.shape[1], 1)
    return {"mean": values.mean(0), "standard deviation": values.std(0), "correlation": correlations[pairs]}


def series_figure(scene: Scene, count: int = 6, most_channels: int = 4) -> "Figure":
    """Some series as lines, one row a channel, generated beside real."""
    from matplotlib.figure import Figure

    sides = scene.sides(count)
    channels = min(scene.data.sample_shape[0], most_channels)
    figure = Figure(figsize=(6 * len(sides), 2.4 * channels + 0.6), dpi=100, layout="constrained")
    grid = figure.subplots(channels, len(sides), squeeze=False, sharey="row")
    for column, (name, _, values) in enumerate(sides):
        for channel in range(channels):
            axes = grid[channel, column]
            axes.plot(values[:, channel].T, linewidth=0.9)
            finish(axes, f"channel {channel + 1}" if column == 0 else "")
        grid[0, column].set_title(name, fontsize=10)
        grid[-1, column].set_xlabel("step")
    return figure


def fields_figure(scene: Scene, count: int = 6, most_channels: int = 8) -> "Figure":
    """Some fields, one row a channel with a colour scale of its own, generated beside real."""
    channels = min(scene.data.sample_shape[0], most_channels)
    sides = [(name, [list(values[:, c]) for c in range(channels)]) for name, _, values in scene.sides(count)]
    return _pictures_figure(sides, [f"channel {c + 1}" for c in range(channels)])


def volumes_figure(scene: Scene, count: int = 6) -> "Figure":
    """The middle slices of some volumes' first channel, one row an axis, generated beside real."""
    sides = [(name, _slices(values[:, 0])) for name, _, values in scene.sides(count)]
    return _pictures_figure(sides, [f"middle of axis {axis + 1}" for axis in range(3)])


def _slices(volumes: Array) -> list[list[Array]]:
    return [[np.take(volume, volume.shape[axis] // 2, axis) for volume in volumes] for axis in range(3)]


def _pictures_figure(sides: list[tuple[str, list[list[Array]]]], names: list[str]) -> "Figure":
    """Rows of pictures of each side, all of a row on one colour scale."""
    from matplotlib.figure import Figure

    widths = [len(rows[0]) for _, rows in sides]
    figure = Figure(figsize=(1.2 * sum(widths) + 1, 1.2 * len(names) + 0.5), dpi=100, layout="constrained")
    grid = figure.subplots(len(names), sum(widths), squeeze=False)
    for r, name in enumerate(names):
        pictures = [picture for _, rows in sides for picture in rows[r]]
        low, high = min(p.min() for p in pictures), max(p.max() for p in pictures)
        for axes, one in zip(grid[r], pictures, strict=True):
            image = axes.imshow(one.astype(float), cmap="viridis", vmin=low, vmax=high)
            axes.set_xticks([])
            axes.set_yticks([])
        grid[r, 0].set_ylabel(name, fontsize=8)
        figure.colorbar(image, ax=list(grid[r]), fraction=0.02)
    for (side, _), start in zip(sides, np.cumsum([0, *widths[:-1]]), strict=True):
        grid[0, start].set_title(side, fontsize=9, loc="left")
    return figure


def plane_figure(scene: Scene) -> "Figure":
    """Points in the plane: real, generated, and the critic's scores with its slope as arrows."""
    from matplotlib.figure import Figure

    sides = scene.sides(2500)[::-1]
    panels = len(sides) + (scene.surface is not None)
    figure = Figure(figsize=(4 * panels, 4), dpi=100, layout="constrained")
    all_axes = figure.subplots(1, panels, squeeze=False)[0]
    extent = scene.surface.extent if scene.surface else extent_of(sides[0][2])
    for axes, (name, colour, values) in zip(all_axes, sides, strict=False):
        axes.plot(values[:, 0], values[:, 1], ".", color=colour, markersize=2, alpha=0.5)
        axes.set_title(name, fontsize=10)
    if scene.surface is not None:
        draw_surface(all_axes[-1], scene.surface)
    for axes in all_axes:
        axes.set_xlim(extent[:2])
        axes.set_ylim(extent[2:])
        axes.set_aspect("equal")
    return figure


_VIEWS: dict[str, Callable[[Scene], "Figure"]] = {
    "pooled": density_figure,
    "table": table_figure,
    "series": series_figure,
    "fields": fields_figure,
    "volumes": volumes_figure,
    "plane": plane_figure,
}
