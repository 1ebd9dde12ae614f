import pytest
import torch

from tests.plots.helpers import scene
from wgan_cli.data.mnist import Mnist
from wgan_cli.data.normal import Normal
from wgan_cli.plots.samples import density_figure, image_grid, picture


def test_the_grid_holds_the_images_row_by_row() -> None:
    images = torch.linspace(-1, 1, 5).reshape(5, 1, 1, 1).expand(5, 1, 8, 8)
    grid = image_grid(images)
    assert grid.shape == (2 * 10 + 2, 3 * 10 + 2, 3)  # 3 columns of 8 pixels, 2 between and around
    centres = [grid[2 + 4 + 10 * (i // 3), 2 + 4 + 10 * (i % 3), 0] for i in range(5)]
    assert centres == [0, 64, 128, 191, 255]


def test_the_density_is_drawn_against_the_target() -> None:
    data = Normal(mean=3.0, std=2.0)
    torch.manual_seed(0)
    figure = density_figure(scene(torch.randn(4096, 1) * 2 + 3, data))
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


@pytest.mark.parametrize(("count", "bins"), [(1, 1), (64, 8), (500, 23), (4096, 60), (100_000, 60)])
def test_a_density_has_no_more_bins_than_its_values_fill(count: int, bins: int) -> None:
    (axes,) = density_figure(scene(torch.randn(count, 1), Normal())).axes
    x, _ = axes.patches[0].get_xy().T
    assert len(set(x.round(9))) == bins + 1


def test_a_picture_suits_the_data() -> None:
    assert picture(scene(torch.zeros(4, 1, 28, 28), Mnist())).shape == (2 * 30 + 2, 2 * 30 + 2, 3)
    assert picture(scene(torch.randn(100, 1), Normal())).shape == (400, 600, 3)


def test_equal_samples_can_be_drawn() -> None:
    assert picture(scene(torch.full((64, 1), 2.5), Normal())).std() > 0
