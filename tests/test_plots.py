import pytest
import torch

from wgan_cli import plots
from wgan_cli.data import Mnist, Normal


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
    assert sum(bar.get_height() * bar.get_width() for bar in axes.patches) == pytest.approx(1)
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert len(axes.get_legend().get_texts()) == 2


def test_a_picture_suits_the_data() -> None:
    assert plots.picture(torch.zeros(4, 1, 28, 28), Mnist()).shape == (2 * 30 + 2, 2 * 30 + 2, 3)
    assert plots.picture(torch.randn(100, 1), Normal()).shape == (400, 600, 3)


def test_samples_that_are_all_alike_can_be_drawn() -> None:
    assert plots.picture(torch.full((64, 1), 2.5), Normal()).std() > 0
