"""Transport plans between two sets of points."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from wgan_cli.plots.style import RUN_COLOURS, finish
from wgan_cli.transport.costs import distances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plan_figure(x: Tensor, y: Tensor, plan: Tensor, p: float) -> "Figure":
    """Matrices of cost and mass between points x (N, D) and y (M, D); in two dimensions also the clouds and the plan.

    Points are ordered along their first principal direction, so that the matrices show a structure.
    """
    from matplotlib.figure import Figure

    x, y, plan = (tensor.detach().double().cpu() for tensor in (x, y, plan))
    flat = x.shape[1] == 2
    figure = Figure(figsize=(15 if flat else 10, 4.6), dpi=100, layout="constrained")
    axes = figure.subplots(1, 3 if flat else 2)
    centred = torch.cat([x, y]) - torch.cat([x, y]).mean(0)
    along = torch.linalg.svd(centred, full_matrices=False).Vh[0]
    rows, columns = (x @ along).argsort(), (y @ along).argsort()
    cost = distances(x, y) ** p
    cost, cells = _in_cells(cost[rows][:, columns])
    plan_shown, _ = _in_cells(plan[rows][:, columns])
    per_cell = f", of {cells[0]} x {cells[1]} points a cell" if max(cells) > 1 else ""
    for ax, matrix, title, unit in (
        (axes[0], cost, "cost matrix", f"‖x − y‖^{p:g}" if p != 1 else "‖x − y‖"),
        (axes[1], plan_shown * cells[0] * cells[1], "coupling matrix", f"mass moved{per_cell}"),
    ):
        image = ax.imshow(
            matrix.numpy(), cmap="viridis", aspect="auto", interpolation="nearest", extent=(0, len(y), len(x), 0)
        )
        figure.colorbar(image, ax=ax, label=unit)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("points of B, along the main direction")
        ax.set_ylabel("points of A, along the main direction")
    if flat:
        _draw_transport(axes[2], x, y, plan)
    return figure


MOST_CELLS = 200
"""Of a matrix in each direction: a plan has about one entry a row, which is too small to see among more."""


def _in_cells(matrix: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """The means of cells of a matrix (N, M), and how many rows and columns are in a cell (fewer in the last)."""
    height, width = (math.ceil(size / MOST_CELLS) for size in matrix.shape)
    pooled = avg_pool2d(matrix[None, None], (height, width), ceil_mode=True)[0, 0]
    return pooled, (height, width)


def _draw_transport(axes: "Axes", x: Tensor, y: Tensor, plan: Tensor, most: int = 20_000) -> None:
    """Two clouds in the plane, and lines between them: the more mass a line carries, the darker it is."""
    from matplotlib.collections import LineCollection

    heaviest = plan.flatten().sort(descending=True).indices[:most]
    heaviest = heaviest[plan.flatten()[heaviest] > 1e-3 * plan.max()]
    i, j = heaviest // plan.shape[1], heaviest % plan.shape[1]
    strengths = (plan[i, j] / plan.max()).numpy()
    lines = list(torch.stack([x[i], y[j]], dim=1).numpy())
    axes.add_collection(
        LineCollection(
            lines, colors=[(0.35, 0.35, 0.35, s) for s in strengths], linewidths=0.8 if len(x) <= 500 else 0.4
        )
    )
    for points, colour, marker, name in ((x, RUN_COLOURS[0], "o", "A"), (y, RUN_COLOURS[1], "s", "B")):
        size = max(1.0, min(18.0, 6000 / len(points)))  # many small markers leave the lines between them to be seen
        axes.scatter(points[:, 0], points[:, 1], s=size, color=colour, marker=marker, label=name, zorder=2)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title("transport: a line's strength is its mass", fontsize=10)
    axes.set_xlabel("first value")
    finish(axes, "second value")
