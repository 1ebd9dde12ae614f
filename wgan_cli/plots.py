"""Pictures for people. matplotlib is imported only here, and only when a picture is drawn."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wgan_cli.data import DataSpec
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pixels = NDArray[np.uint8]

# Okabe and Ito's palette, which colour-blind readers can distinguish. Black is reserved for targets.
TARGET, GENERATED = "#000000", "#E69F00"
RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")


def to_pixels(images: Tensor) -> Pixels:
    """Images (N, C, H, W) in [-1, 1] as uint8 (N, H, W, C), each value rounded to the nearest."""
    scaled = images.float().add(1).mul(255 / 2).round().clamp(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).cpu().numpy()


def picture(samples: Tensor, data: DataSpec) -> Pixels:
    """Generated `samples` (N, *shape) as one picture (H, W, C): a grid of images, or the density of plain values."""
    return image_grid(samples) if data.is_image else rendered(density_figure(samples, data))


def image_grid(images: Tensor) -> Pixels:
    """Images (N, C, H, W) in [-1, 1] as one near-square grid, row by row: (H, W, C)."""
    from torchvision.utils import make_grid

    columns = int(np.ceil(np.sqrt(len(images))))
    return to_pixels(make_grid(images.cpu(), nrow=columns, padding=2, pad_value=1.0)[None])[0]


def density_figure(samples: Tensor, data: DataSpec) -> "Figure":
    """A histogram of all values in `samples`, with the target's density if it is known."""
    from matplotlib.figure import Figure

    values = samples.flatten().double().cpu()
    figure = Figure(figsize=(6, 4), dpi=100)  # fixed margins and one polygon, because training waits for it
    axes = figure.add_axes((0.11, 0.12, 0.87, 0.85))
    label = f"generated ({len(values):,} values)"
    axes.hist(values.numpy(), bins=60, density=True, histtype="stepfilled", color=GENERATED, label=label)
    _draw_target(axes, data, values.min().item(), values.max().item())
    axes.set_xlabel("value")
    _finish(axes, "probability density")
    return figure


def check_path(path: Path, option: str) -> None:
    """Raises `BadInputError`, before anything is computed, for a path that `save` can't write."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise BadInputError(f"{option} {path}: must end in .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise BadInputError(f"{option} {path}: there is no folder {path.parent}; make it first")


def save(figure: "Figure", path: Path) -> None:
    """Writes the figure atomically as PNG, SVG or PDF, chosen by the ending of `path`. Raises `WganError`."""
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:])
    try:
        write_atomically(path, content.getvalue())
    except OSError as error:
        raise WganError(f"{path}: can't be written ({error.strerror})") from error


def write_png(path: Path, pixels: Pixels) -> None:
    """Writes a picture (H, W, C) atomically as PNG; one channel is grey. Raises `OSError` if that fails."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


def rendered(figure: "Figure") -> Pixels:
    """The figure as pixels (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@dataclass(frozen=True)
class RunCurves:
    """One run to draw: its logged lines, its data, generated samples (N, *shape), and its grids by iteration."""

    name: str
    lines: Sequence[Mapping[str, float]]
    data: DataSpec
    samples: Tensor | None
    grids: Mapping[int, Pixels]


# Title, unit and figures of each panel. The first figure is drawn solid, the others dashed and dotted.
_PANELS = (
    ("gap: mean critic(real) − mean critic(fake)", "score", ("critic/gap", "critic/gap_heldout")),
    ("W1: the critic's estimate, gap / Lipschitz constant, and the truth", "distance", ("critic/w1", "truth/w1")),
    ("mean scores of real and fake samples", "score", ("critic/real", "critic/fake")),
    ("Lipschitz constant: largest slope seen", "score / distance", ("critic/lipschitz",)),
    ("penalty", "loss", ("critic/penalty",)),
    ("mean of generated values", "value", ("samples/mean",)),
    ("standard deviation of generated values", "value", ("samples/std",)),
)
_DASHES = ("-", "--", ":")


def smoothed(values: Sequence[float]) -> NDArray[np.float64]:
    """A centred moving average over a tenth of the curve; near the ends it uses the values that exist."""
    window = np.ones(len(values) // 10 | 1)  # an odd width, so that the curve is not shifted
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def curves_figure(runs: Sequence[RunCurves]) -> "Figure":
    """The logged figures of runs over their iterations: raw values in a light line, smoothed ones in a strong line.

    Each run has its own colour. Panels without figures are left out. Runs of plain values also show their density and
    the target's; runs of images show a row of their grids. Raises `BadInputError` if nothing is logged yet.
    """
    from matplotlib.figure import Figure

    logged = {name for run in runs for line in run.lines for name, value in line.items() if value}
    panels = [panel for panel in _PANELS if logged.intersection(panel[2])]
    plain = [run for run in runs if run.samples is not None]
    strips = [run for run in runs if run.data.is_image and run.grids]
    rows = (len(panels) + bool(plain) + 1) // 2
    if not rows + len(strips):
        raise BadInputError(f"{', '.join(run.name for run in runs)}: nothing is logged yet")
    heights = [3.0] * rows + [2.4] * len(strips)
    figure = Figure(figsize=(12, sum(heights)), dpi=100, layout="constrained")
    cells = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    for i, (title, unit, names) in enumerate(panels):
        _draw_panel(figure.add_subplot(cells[i // 2, i % 2]), title, unit, names, runs)
    if plain:
        _draw_densities(figure.add_subplot(cells[len(panels) // 2, len(panels) % 2]), runs)
    for i, run in enumerate(strips):
        _draw_strip(figure.add_subplot(cells[rows + i, :]), run)
    return figure


def _coloured(runs: Sequence[RunCurves]) -> list[tuple[RunCurves, str]]:
    return [(run, RUN_COLOURS[i % len(RUN_COLOURS)]) for i, run in enumerate(runs)]


def _draw_panel(axes: "Axes", title: str, unit: str, names: Sequence[str], runs: Sequence[RunCurves]) -> None:
    drawn = [name for name in names if any(name in line for run in runs for line in run.lines)]
    for run, colour in _coloured(runs):
        for name, dash in zip(drawn, _DASHES, strict=False):
            points = [(line["step"], line[name]) for line in run.lines if name in line]
            if not points:
                continue
            steps, values = zip(*points, strict=True)
            what = [run.name] * (len(runs) > 1) + [name] * (len(drawn) > 1)
            axes.plot(steps, values, dash, color=colour, linewidth=0.8, alpha=0.3)
            axes.plot(steps, smoothed(values), dash, color=colour, linewidth=1.8, label=" ".join(what) or None)
    for target in {run.data.targets[name] for run in runs for name in drawn if name in run.data.targets}:
        axes.axhline(target, color=TARGET, linewidth=1, label="target")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("iteration")
    _finish(axes, unit)


def _draw_densities(axes: "Axes", runs: Sequence[RunCurves]) -> None:
    for run, colour in _coloured(runs):
        if run.samples is None:
            continue
        values = run.samples.flatten().double().cpu().numpy()
        axes.hist(values, bins=60, density=True, histtype="step", color=colour, linewidth=1.5, label=run.name)
        _draw_target(axes, run.data, values.min(), values.max())
    axes.set_title("density of generated values", fontsize=10)
    axes.set_xlabel("value")
    _finish(axes, "probability density")


def _draw_target(axes: "Axes", data: DataSpec, low: float, high: float) -> None:
    """Draws the target's density if it is known, where it is not negligible. Runs of the same target share a label."""
    grid = torch.linspace(low - (high - low) / 4 - 1, high + (high - low) / 4 + 1, 1000, dtype=torch.float64)
    target = data.density(grid)
    if target is not None:
        shown = target > 1e-4 * target.max()
        label = None if "target" in axes.get_legend_handles_labels()[1] else "target"
        axes.plot(grid[shown].numpy(), target[shown].numpy(), color=TARGET, linewidth=2, label=label)


def _draw_strip(axes: "Axes", run: RunCurves, most: int = 5) -> None:
    """Draws at most `most` of the run's grids, at even intervals."""
    steps = sorted(run.grids)
    chosen = [steps[round(i)] for i in np.linspace(0, len(steps) - 1, min(most, len(steps)))]
    height, width = run.grids[chosen[0]].shape[:2]
    for i, step in enumerate(chosen):
        left = i * 1.05 * width
        axes.imshow(run.grids[step], extent=(left, left + width, 0, height), cmap="gray", vmin=0, vmax=255)
        axes.text(left + width / 2, height * 1.02, f"iteration {step:,}", ha="center", va="bottom", fontsize=9)
    axes.set_xlim(0, (len(chosen) - 1) * 1.05 * width + width)
    axes.set_ylim(0, height * 1.1)
    axes.set_axis_off()
    axes.set_title(f"{run.name}: samples of the same seeds", fontsize=10)


def _finish(axes: "Axes", unit: str) -> None:
    axes.set_ylabel(unit)
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


# --- transport plans ---------------------------------------------------------------------------------------


def plan_figure(x: Tensor, y: Tensor, plan: Tensor, p: float) -> "Figure":
    """The matrices of cost and mass between points x (N, D) and y (M, D). For D = 2, also the points and the plan.

    Points are sorted along their first principal direction, so that the matrices show a structure.
    """
    from matplotlib.figure import Figure

    x, y, plan = (tensor.detach().double().cpu() for tensor in (x, y, plan))
    flat = x.shape[1] == 2
    figure = Figure(figsize=(15 if flat else 10, 4.6), dpi=100, layout="constrained")
    axes = figure.subplots(1, 3 if flat else 2)
    centred = torch.cat([x, y]) - torch.cat([x, y]).mean(0)
    along = torch.linalg.svd(centred, full_matrices=False).Vh[0]
    rows, columns = (x @ along).argsort(), (y @ along).argsort()
    cost = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist") ** p
    for ax, matrix, title, unit in (
        (axes[0], cost, "cost matrix", f"‖x − y‖^{p:g}" if p != 1 else "‖x − y‖"),
        (axes[1], plan, "coupling matrix", "mass moved"),
    ):
        image = ax.imshow(matrix[rows][:, columns].numpy(), cmap="viridis", aspect="auto", interpolation="nearest")
        figure.colorbar(image, ax=ax, label=unit)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("points of B, along the main direction")
        ax.set_ylabel("points of A, along the main direction")
    if flat:
        _draw_transport(axes[2], x, y, plan)
    return figure


def _draw_transport(axes: "Axes", x: Tensor, y: Tensor, plan: Tensor, most: int = 20_000) -> None:
    """Draws two clouds of points, and lines between them. A line that moves more mass is darker."""
    from matplotlib.collections import LineCollection

    heaviest = plan.flatten().sort(descending=True).indices[:most]
    heaviest = heaviest[plan.flatten()[heaviest] > 1e-3 * plan.max()]
    i, j = heaviest // plan.shape[1], heaviest % plan.shape[1]
    strengths = (plan[i, j] / plan.max()).numpy()
    lines = list(torch.stack([x[i], y[j]], dim=1).numpy())
    axes.add_collection(LineCollection(lines, colors=[(0.35, 0.35, 0.35, s) for s in strengths], linewidths=0.8))
    for points, colour, marker, name in ((x, RUN_COLOURS[0], "o", "A"), (y, RUN_COLOURS[1], "s", "B")):
        axes.scatter(points[:, 0], points[:, 1], s=18, color=colour, marker=marker, label=name, zorder=2)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title("transport: a line's strength is its mass", fontsize=10)
    axes.set_xlabel("first value")
    _finish(axes, "second value")
