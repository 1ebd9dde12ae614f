import numpy as np
import pytest

from tests.plots.helpers import curves
from wgan_cli.data.mnist import Mnist
from wgan_cli.data.normal import Normal
from wgan_cli.data.points import Points
from wgan_cli.errors import BadInputError
from wgan_cli.plots.curves import RunCurves, curves_figure, smoothed
from wgan_cli.plots.style import RUN_COLOURS


def test_smoothing_keeps_straight_lines_and_means() -> None:
    assert smoothed([5.0] * 37).tolist() == pytest.approx([5.0] * 37)
    line = [2.0 * i for i in range(60)]
    assert smoothed(line)[5:-5].tolist() == pytest.approx(line[5:-5])
    assert smoothed([1.0]).tolist() == [1.0]


def test_runs_are_drawn_together_with_a_legend_and_their_targets() -> None:
    runs = [
        curves("one", Normal(mean=3.0), critic__gap=0.5, samples__mean=2.9, critic__penalty=0.0),
        curves("other", Normal(mean=3.0), critic__gap=0.7, samples__mean=3.1, critic__penalty=0.0),
    ]
    figure = curves_figure(runs)
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "other"]
    assert len(panels) == 3  # the gap, the mean, the densities: nobody has a penalty
    mean = panels["mean of generated values"]
    assert [text.get_text() for text in mean.get_legend().get_texts()] == ["target"]
    assert [3.0, 3.0] in [list(line.get_ydata()) for line in mean.lines]
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in panels.values())


def test_few_values_of_each_figure_have_a_marker_that_the_legend_shows() -> None:
    lines = [{"step": 20.0, "critic/w1": 1.0, "critic/w1_low": 0.4, "truth/w1": 0.5}]
    (axes,) = curves_figure([RunCurves("one", lines, Mnist(), None, {})]).axes
    seen = {line.get_marker() for line in axes.lines if len(line.get_ydata()) and line.get_marker() != "None"}
    assert {line.get_marker() for line in axes.get_legend().get_lines()} == seen == {"o", "s", "^"}
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_floors_have_the_colours_of_their_runs() -> None:
    def floors(*values: float) -> list[str]:
        lines = [[{"step": 1.0, "truth/w1": 3.0, "truth/w1_floor": value}] for value in values]
        runs = [RunCurves(str(i), lines[i], Mnist(), None, {}) for i in range(len(values))]
        (axes,) = curves_figure(runs).axes
        return [line.get_color() for line in axes.lines if line.get_linestyle() == "-." and len(line.get_ydata())]

    assert floors(1.0, 1.0) == ["grey"]
    assert floors(1.0, 2.0) == [*RUN_COLOURS[:2]]


def test_a_grid_with_words_to_read_is_drawn_large_and_alone() -> None:
    grids = {step: np.full((400, 1200, 3), step, np.uint8) for step in (1, 2, 3)}
    figure = curves_figure([RunCurves("ring", [], Points(), None, grids)])
    (axes,) = figure.axes
    assert axes.get_title() == "ring: iteration 3"
    assert [image.get_array().max() for image in axes.images] == [3]
    figure.draw_without_rendering()
    assert axes.get_window_extent().width > 900


def test_runs_without_figures_are_refused() -> None:
    runs = [RunCurves(name, [], Normal(), None, {}) for name in ("one", "other")]
    with pytest.raises(BadInputError, match="one, other: nothing is logged yet"):
        curves_figure(runs)


def test_grids_are_shown_through_time() -> None:
    figure = curves_figure([curves("digits", Mnist(), critic__gap=1.0)])
    strip = figure.axes[-1]
    assert [text.get_text() for text in strip.texts] == [f"iteration {step}" for step in (1, 3, 5, 6, 8)]


def test_a_single_truth_is_seen_beside_its_floor() -> None:
    lines = [{"step": float(step), "critic/w1": 1.0} for step in range(1, 41)]
    lines[-1] |= {"truth/w1": 0.5, "truth/w1_floor": 0.2, "frechet/mnist-cnn": 7.0, "frechet/mnist-cnn_floor": 1.0}
    figure = curves_figure([RunCurves("one", lines, Mnist(), None, {})])
    w1, frechet = figure.axes
    assert frechet.get_title() == "Fréchet distance by mnist-cnn"
    for axes, value, floor in ((w1, 0.5, 0.2), (frechet, 7.0, 1.0)):
        marked = [list(line.get_ydata()) for line in axes.lines if line.get_marker() in ("o", "s", "^")]
        assert [values for values in marked if values] == [[value]]
        assert [floor, floor] in [list(line.get_ydata()) for line in axes.lines]
    assert not figure.legends  # one run needs no name


@pytest.mark.parametrize("count", [2, 7, 12, 20])
def test_runs_have_colours_of_their_own_and_one_legend(count: int) -> None:
    runs = [curves(f"run {i}", Normal(), critic__gap=0.1 * i + 0.1) for i in range(count)]
    figure = curves_figure(runs)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == count
    colours = {line.get_color() for line in legend.get_lines()}
    assert len(colours) == count
    below = legend.get_window_extent().y0
    assert all(axes.get_tightbbox().y1 <= below + 1 for axes in figure.axes)
    assert all(axes.get_window_extent().height > 100 for axes in figure.axes)
