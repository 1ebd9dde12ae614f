"""Pictures of tables: marginal densities, pairs of columns, or the moments of many columns."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from wgan_cli.data.pixels import Array
from wgan_cli.plots.scene import Scene, Side
from wgan_cli.plots.style import GENERATED, TARGET, bins, finish

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
            for name, colour, values in reversed(sides):  # generated ones last, and so above real ones
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
    grid[0, -1].legend(handles[::-1], names[::-1], loc="upper right", frameon=False, fontsize=7)
    return figure


def _edges(sides: list[Side], column: int) -> Array:
    """The bins of a column, the same for all sides: a bin a value where few whole numbers occur, else as many as suit
    the smaller of all generated and all real samples."""
    low, high = _limits(sides, column)
    sizes = [sum(len(side.values) for side in sides if side.is_real is is_real) for is_real in (False, True)]
    count = bins(min(filter(None, sizes)), MOST_BINS)
    if high - low < MOST_BINS and all(
        (side.values[:, column] == np.rint(side.values[:, column])).all() for side in sides
    ):
        return np.arange(math.floor(low), math.ceil(high) + 2) - 0.5
    return np.linspace(low, high, count + 1)


MOST_BINS = 39


def _limits(sides: list[Side], column: int) -> tuple[float, float]:
    """The range of a column that holds all but the last 0.2 % of either side; never empty."""
    ranges = [np.quantile(side.values[:, column].astype(float), [0.001, 0.999]) for side in sides]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _moments_figure(scene: Scene) -> "Figure":
    """Means, standard deviations and correlations of all columns, generated against real."""
    from matplotlib.figure import Figure

    moments = [(name, _moments(values.astype(float))) for name, _, values in replace(scene, classes=None).sides(5000)]
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
