from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wgan_cli import plots
from wgan_cli.data.mnist import Mnist
from wgan_cli.data.normal import Normal
from wgan_cli.errors import BadInputError, WganError


def test_pixels_are_rounded_to_the_nearest() -> None:
    values = torch.arange(256, dtype=torch.float32).mul(2 / 255).sub(1)
    pixels = plots.to_pixels(values.reshape(1, 1, 16, 16))
    assert pixels.shape == (1, 16, 16, 1)
    assert pixels.flatten().tolist() == list(range(256))
    assert plots.to_pixels(torch.tensor([-9.0, 9.0]).reshape(1, 1, 1, 2)).flatten().tolist() == [0, 255]


def test_the_grid_holds_the_images_row_by_row() -> None:
    images = torch.linspace(-1, 1, 5).reshape(5, 1, 1, 1).expand(5, 1, 8, 8)
    grid = plots.image_grid(images)
    assert grid.shape == (2 * 10 + 2, 3 * 10 + 2, 3)  # 3 columns of 8 pixels, 2 between and around
    centres = [grid[2 + 4 + 10 * (i // 3), 2 + 4 + 10 * (i % 3), 0] for i in range(5)]
    assert centres == [0, 64, 128, 191, 255]


def test_the_density_is_drawn_against_the_target() -> None:
    data = Normal(mean=3.0, std=2.0)
    torch.manual_seed(0)
    figure = plots.density_figure(torch.randn(4096, 1) * 2 + 3, data)
    (axes,) = figure.axes
    (line,) = axes.lines
    x, y = torch.tensor(line.get_xdata()), torch.tensor(line.get_ydata())
    assert y.max().item() == pytest.approx(0.19947, abs=1e-4)
    assert x[y.argmax()].item() == pytest.approx(3, abs=0.05)
    x, y = torch.from_numpy(axes.patches[0].get_xy()).T
    assert torch.trapezoid(y, x).abs().item() == pytest.approx(1)  # the area within the steps, as they go round
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert len(axes.get_legend().get_texts()) == 2


def test_a_picture_suits_the_data() -> None:
    assert plots.picture(torch.zeros(4, 1, 28, 28), Mnist()).shape == (2 * 30 + 2, 2 * 30 + 2, 3)
    assert plots.picture(torch.randn(100, 1), Normal()).shape == (400, 600, 3)


def test_equal_samples_can_be_drawn() -> None:
    assert plots.picture(torch.full((64, 1), 2.5), Normal()).std() > 0


def test_smoothing_keeps_straight_lines_and_means() -> None:
    assert plots.smoothed([5.0] * 37).tolist() == pytest.approx([5.0] * 37)
    line = [2.0 * i for i in range(60)]
    assert plots.smoothed(line)[5:-5].tolist() == pytest.approx(line[5:-5])
    assert plots.smoothed([1.0]).tolist() == [1.0]


def curves(name: str, data: Normal | Mnist, **figures: float) -> plots.RunCurves:
    lines = [{"step": step, **{key.replace("__", "/"): value for key, value in figures.items()}} for step in (1, 2, 3)]
    grids = {step: plots.image_grid(torch.zeros(4, 1, 28, 28)) for step in range(1, 9)} if data.is_image else {}
    return plots.RunCurves(name, lines, data, torch.randn(64, *data.shape), grids)


def test_runs_are_drawn_together_with_a_legend_and_their_targets() -> None:
    runs = [
        curves("one", Normal(mean=3.0), critic__gap=0.5, samples__mean=2.9, critic__penalty=0.0),
        curves("other", Normal(mean=3.0), critic__gap=0.7, samples__mean=3.1, critic__penalty=0.0),
    ]
    panels = {axes.get_title(): axes for axes in plots.curves_figure(runs).axes}
    assert len(panels) == 3  # the gap, the mean, the densities: nobody has a penalty
    mean = panels["mean of generated values"]
    assert [text.get_text() for text in mean.get_legend().get_texts()] == ["one", "other", "target"]
    assert [3.0, 3.0] in [list(line.get_ydata()) for line in mean.lines]
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in panels.values())


def test_runs_without_figures_are_refused() -> None:
    runs = [plots.RunCurves(name, [], Normal(), None, {}) for name in ("one", "other")]
    with pytest.raises(BadInputError, match="one, other: nothing is logged yet"):
        plots.curves_figure(runs)


def test_grids_are_shown_through_time() -> None:
    figure = plots.curves_figure([curves("digits", Mnist(), critic__gap=1.0)])
    strip = figure.axes[-1]
    assert [text.get_text() for text in strip.texts] == [f"iteration {step}" for step in (1, 3, 5, 6, 8)]


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_a_figure_is_written_as_its_ending_says(tmp_path: Path, ending: str) -> None:
    figure = plots.curves_figure([curves("one", Normal(), critic__gap=1.0)])
    plots.save(figure, tmp_path / f"x{ending}")
    begins = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[ending]
    assert (tmp_path / f"x{ending}").read_bytes().startswith(begins)


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    for bad, reason in (("x.jpg", "--out .*x.jpg: must end in"), ("no/x.png", "there is no folder")):
        with pytest.raises(BadInputError, match=reason):
            plots.check_path(tmp_path / bad, "--out")


def test_a_failed_write_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    figure = plots.density_figure(torch.randn(9, 1), Normal())
    with pytest.raises(WganError, match=r"x\.png: can't be written"):
        plots.save(figure, tmp_path / "x.png")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels(tmp_path: Path, channels: int) -> None:
    pixels = np.arange(2 * 4 * channels, dtype=np.uint8).reshape(2, 4, channels)
    plots.write_png(tmp_path / "x.png", pixels)
    image = Image.open(tmp_path / "x.png")
    assert image.mode == {1: "L", 3: "RGB"}[channels]
    assert np.array(image).reshape(pixels.shape).tolist() == pixels.tolist()


@pytest.mark.parametrize("features", [2, 5])
def test_a_plan_is_drawn_and_clouds_only_in_the_plane(features: int) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(6, features), torch.randn(6, features)
    figure = plots.plan_figure(x, y, torch.eye(6) / 6, 1)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[:2] == ["cost matrix", "coupling matrix"]
    assert len(titles) == (3 if features == 2 else 2)
    if features == 2:
        (lines,) = figure.axes[2].collections[:1]
        drawn = {tuple(map(tuple, segment.round(4).tolist())) for segment in lines.get_segments()}
        wanted = {tuple(map(tuple, pair.numpy().round(4).tolist())) for pair in torch.stack([x, y], 1).double()}
        assert drawn == wanted
