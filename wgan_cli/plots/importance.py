"""How much each key of a search matters."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from wgan_cli.plots.style import RUN_COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def importance_figure(shares: Mapping[str, float], objective: str, trials: int) -> "Figure":
    """The `shares` of keys as bars, the largest on top."""
    from matplotlib.figure import Figure

    names = sorted(shares, key=lambda name: shares[name])
    figure = Figure(figsize=(7, 1 + 0.4 * len(names)), dpi=100, layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [shares[name] for name in names], color=RUN_COLOURS[0])
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set_xlim(0, 1.08)
    axes.set_xlabel(f"share of importance for {objective}, by {trials} trials")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
