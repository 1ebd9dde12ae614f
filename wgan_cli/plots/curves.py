"""What runs logged over their iterations."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wgan_cli.data import DataSpec
from wgan_cli.data.pixels import Pixels
from wgan_cli.errors import BadInputError
from wgan_cli.figure_names import FLOOR, is_figure
from wgan_cli.plots.style import RUN_COLOURS, TARGET, bins, draw_target, finish, new_label, run_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RunCurves:
    """What is drawn of one run: its logged lines, its data, generated samples (N, *shape), its grids by iteration."""

    name: str
    lines: Sequence[Mapping[str, float]]
    data: DataSpec
    samples: Tensor | None
    grids: Mapping[int, Pixels]


# Title, unit, and figures of each panel: the first is drawn solid, the others dashed and dotted.
_PANELS = (
    ("gap: mean critic(real) − mean critic(fake)", "score", ("critic/gap", "critic/gap_heldout")),
    (
        "W1: estimate (gap / Lipschitz constant), proved bound, truth",
        "distance",
        ("critic/w1", "critic/w1_low", "truth/w1"),
    ),
    ("mean scores of real and fake samples", "score", ("critic/real", "critic/fake")),
    ("Lipschitz constant: largest slope seen", "score / distance", ("critic/lipschitz",)),
    ("penalty", "loss", ("critic/penalty",)),
    ("mean of generated values", "value", ("samples/mean",)),
    ("standard deviation of generated values", "value", ("samples/std",)),
)
_DASHES, _MARKERS = ("-", "--", ":"), ("o", "s", "^")
_FEW = 12
"""Curves of at most so many values have a marker at each: a line alone hides single values."""


def smoothed(values: Sequence[float]) -> NDArray[np.float64]:
    """A centred moving average over a tenth of the curve; near the ends, over the values that exist."""
    window = np.ones(len(values) // 10 | 1)  # an odd width, so that nothing shifts
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def panels_of(runs: Sequence[RunCurves]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Title, unit and figures of each panel for which the runs logged something."""
    logged = {name for run in runs for line in run.lines for name, value in line.items() if value}
    return [panel for panel in (*_PANELS, *_fidelity_panels(logged)) if logged.intersection(panel[2])]


def curves_figure(runs: Sequence[RunCurves]) -> "Figure":
    """The logged figures of runs over their iterations: raw values faint, a smoothed line strong, one colour a run,
    and a line for the floor of a truth.

    Panels without figures are left out. Runs of plain values also show their density and the target's, runs of images
    a row of grids through time, and others their last grid, as do those without samples.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    panels = panels_of(runs)
    plain = [run for run in runs if run.samples is not None]
    strips = [run for run in runs if run.grids and (run.samples is None or run.data.view != "pooled")]
    rows = (len(panels) + bool(plain) + 1) // 2
    if not rows + len(strips):
        raise BadInputError(f"{', '.join(run.name for run in runs)}: nothing is logged yet")
    heights = [3.0] * rows + [_strip_height(run) for run in strips]
    figure = Figure(figsize=(12, sum(heights)), dpi=100, layout="constrained")
    cells = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    for i, (title, unit, names) in enumerate(panels):
        _draw_panel(figure.add_subplot(cells[i // 2, i % 2]), title, unit, names, runs)
    if plain:
        _draw_densities(figure.add_subplot(cells[len(panels) // 2, len(panels) % 2]), runs)
    for i, run in enumerate(strips):
        _draw_strip(figure.add_subplot(cells[rows + i, :]), run)
    if len(runs) > 1:
        keys = [Line2D([], [], color=colour, label=run.name) for run, colour in _coloured(runs)]
        figure.legend(handles=keys, loc="outside upper center", ncols=min(len(runs), 4), frameon=False, fontsize=9)
    return figure


def _fidelity_panels(logged: Collection[str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """A panel for each classifier by whose features samples were judged."""
    kinds = sorted(name for name in logged if name.startswith("frechet/") and is_figure(name))
    return [(f"Fréchet distance by {name.partition('/')[2]}", "distance", (name,)) for name in kinds]


def _coloured(runs: Sequence[RunCurves]) -> list[tuple[RunCurves, str]]:
    return list(zip(runs, run_colours(len(runs)), strict=True))


def _draw_panel(axes: "Axes", title: str, unit: str, names: Sequence[str], runs: Sequence[RunCurves]) -> None:
    drawn = [name for name in names if any(name in line for run in runs for line in run.lines)]
    marked = set()
    for run, colour in _coloured(runs):
        for name, dash, marker in zip(drawn, _DASHES, _MARKERS, strict=False):
            points = [(line["step"], line[name]) for line in run.lines if name in line]
            if not points:
                continue
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, dash, color=colour, linewidth=0.8, alpha=0.3)
            (line,) = axes.plot(steps, smoothed(values), dash, color=colour, linewidth=1.8)
            if len(points) <= _FEW:
                line.set(marker=marker, markersize=4)
                marked.add(name)
    if len(drawn) > 1:  # the legend of the figure names the runs
        colour = RUN_COLOURS[0] if len(runs) == 1 else "grey"
        for name, dash, marker in zip(drawn, _DASHES, _MARKERS, strict=False):
            shown = marker if name in marked else None
            axes.plot([], [], dash, color=colour, marker=shown, markersize=4, label=name)
    draw_floors(axes, drawn, runs)
    for target in {run.data.targets[name] for run in runs for name in drawn if name in run.data.targets}:
        axes.axhline(target, color=TARGET, linewidth=1, label=new_label(axes, "target"))
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("iteration")
    axes.locator_params(axis="x", integer=True)
    finish(axes, unit)


def draw_floors(axes: "Axes", names: Sequence[str], runs: Sequence[RunCurves]) -> None:
    """A line for each floor: grey if it is the only one, else in the colour of its run."""
    wanted = [name + FLOOR for name in names]
    floors = [(value, colour) for run, colour in _coloured(runs) for name in wanted for value in _last(run, name)]
    shared = len({value for value, _ in floors}) == 1
    for value, colour in floors[:1] if shared else floors:
        axes.axhline(value, color="grey" if shared else colour, linewidth=1, linestyle="-.")
    if floors:
        axes.plot([], [], "-.", color="grey", linewidth=1, label="floor")


def _last(run: RunCurves, name: str) -> list[float]:
    """The last logged value, if there is one."""
    return [line[name] for line in run.lines if name in line][-1:]


def _draw_densities(axes: "Axes", runs: Sequence[RunCurves]) -> None:
    for run, colour in _coloured(runs):
        if run.samples is None:
            continue
        values = run.samples.flatten().double().cpu().numpy()
        axes.hist(values, bins=bins(len(values)), density=True, histtype="step", color=colour, linewidth=1.5)
        draw_target(axes, run.data)
    axes.set_title("density of generated values", fontsize=10)
    axes.set_xlabel("value")
    finish(axes, "probability density")


def _strip_height(run: RunCurves) -> float:
    """In inches."""
    height, width = run.grids[max(run.grids)].shape[:2]
    return 2.4 if run.data.is_image else min(12 * height / width + 0.3, 8)


def _draw_strip(axes: "Axes", run: RunCurves, most: int = 5) -> None:
    """Grids of images, at most five of them, evenly through time; of others, which have axes and words to read, the
    last one over the whole width."""
    steps = sorted(run.grids)
    axes.set_axis_off()
    if not run.data.is_image:
        axes.imshow(run.grids[steps[-1]])
        axes.set_title(f"{run.name}: iteration {steps[-1]:,}", fontsize=10)
        return
    chosen = [steps[round(i)] for i in np.linspace(0, len(steps) - 1, min(most, len(steps)))]
    height, width = run.grids[chosen[0]].shape[:2]
    for i, step in enumerate(chosen):
        left = i * 1.05 * width
        axes.imshow(run.grids[step], extent=(left, left + width, 0, height), cmap="gray", vmin=0, vmax=255)
        axes.text(left + width / 2, height * 1.02, f"iteration {step:,}", ha="center", va="bottom", fontsize=9)
    axes.set_xlim(0, (len(chosen) - 1) * 1.05 * width + width)
    axes.set_ylim(0, height * 1.1)
    axes.set_title(f"{run.name}: samples of the same seeds", fontsize=10)
