"""Pictures of samples: images, densities, tables, series, fields, volumes and points in the plane."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from wgan_cli.data.pixels import Array, Pixels
from wgan_cli.plots.images import image_scene, images_picture
from wgan_cli.plots.scene import Scene
from wgan_cli.plots.style import GENERATED, bins, draw_target, finish, rendered
from wgan_cli.plots.surface import draw_surface, extent_of
from wgan_cli.plots.tables import table_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def picture(scene: Scene) -> Pixels:
    """The samples as one picture (H, W, C), in the view that suits their data."""
    return drawing(scene)()


def drawing(scene: Scene) -> Callable[[], Pixels]:
    """What draws `picture(scene)`, on any thread and at any time: it needs no device and no network any more."""
    images = image_scene(scene)
    if images is not None:
        pixels = images_picture(images)
        return lambda: pixels
    real = None if scene.real is None else scene.real.cpu()
    on_cpu = replace(scene, samples=scene.samples.cpu(), real=real)
    return lambda: rendered(_VIEWS[scene.data.view](on_cpu))


def density_figure(scene: Scene) -> "Figure":
    """A histogram of all values, with the target's density where it is known."""
    from matplotlib.figure import Figure

    values = scene.samples.flatten().double().cpu()
    figure = Figure(figsize=(6, 4), dpi=100)  # fixed margins and one polygon draw fast: training waits for it
    axes = figure.add_axes((0.11, 0.12, 0.87, 0.85))
    label = f"{'real' if scene.is_real else 'generated'} ({len(values):,} values)"
    axes.hist(values.numpy(), bins=bins(len(values)), density=True, histtype="stepfilled", color=GENERATED, label=label)
    draw_target(axes, scene.data)
    axes.set_xlabel("value")
    finish(axes, "probability density")
    return figure


def series_figure(scene: Scene, count: int = 6, most_channels: int = 4) -> "Figure":
    """Some series as lines, one row a channel, the classes or generated and real ones beside each other."""
    from matplotlib.figure import Figure

    sides = scene.sides(count)
    channels = min(scene.data.sample_shape[0], most_channels)
    width = 6 if len(sides) <= 2 else 3
    figure = Figure(figsize=(width * len(sides), 2.4 * channels + 0.6), dpi=100, layout="constrained")
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
    extent = scene.surface.extent if scene.surface else extent_of(np.concatenate([side.values for side in sides]))
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
