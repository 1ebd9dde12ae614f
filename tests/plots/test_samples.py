from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from tests.plots.helpers import scene
from wgan_cli.data.arrays import Arrays
from wgan_cli.data.images import Images
from wgan_cli.data.mnist import Mnist
from wgan_cli.data.normal import Normal
from wgan_cli.data.pixels import to_pixels
from wgan_cli.plots.images import WORD_HEIGHT, image_grid
from wgan_cli.plots.samples import density_figure, picture, series_figure
from wgan_cli.plots.scene import Scene, Side
from wgan_cli.plots.style import GENERATED, TARGET, rendered
from wgan_cli.plots.surface import Surface
from wgan_cli.plots.tables import _edges, table_figure


def test_the_grid_holds_the_images_row_by_row() -> None:
    images = torch.linspace(-1, 1, 5).reshape(5, 1, 1, 1).expand(5, 1, 8, 8)
    grid = image_grid(images)
    assert grid.shape == (2 * 10 + 2, 3 * 10 + 2, 3)  # 3 columns of 8 pixels, 2 between and around
    centres = [grid[2 + 4 + 10 * (i // 3), 2 + 4 + 10 * (i % 3), 0] for i in range(5)]
    assert centres == [0, 64, 128, 191, 255]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_word_stands_above_each_of_two_grids(channels: int) -> None:
    sides = torch.ones(4, channels, 30, 30), -torch.ones(4, channels, 30, 30)
    data = Images.model_validate({"path": "x", "size": 30, "channels": channels})
    both = picture(replace(scene(sides[0], data), real=sides[1]))
    assert both.shape == (WORD_HEIGHT + 66, 66 + 16 + 66, max(channels, 3))
    words = both[:WORD_HEIGHT, :, 0] < 128
    assert words[:, :66].any()
    assert words[:, 82:].any()
    assert not words[:, 66:82].any()
    assert channels < 4 or (both[:WORD_HEIGHT, :, 3] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_of_classes_have_their_names(channels: int) -> None:
    data = Images.model_validate({"path": "x", "size": 28, "channels": channels})
    alone = replace(scene(-torch.ones(6, channels, 28, 28), data), columns=2)
    grid = picture(alone)
    named = picture(replace(alone, classes=["i", "i", "a" * 50, "a" * 50, "кот", "кот"]))
    width = named.shape[1] - grid.shape[1]
    assert np.array_equal(named[:, width:], grid)
    rows = [named[2 + 30 * row : 30 * (row + 1), :width].min((0, 2)) < 128 for row in range(3)]
    inked = [np.flatnonzero(row) for row in rows]
    assert inked[0].size < inked[2].size < inked[1].size  # as long as the names
    assert inked[1].max() < width - 1  # and none cut, as a long one is shortened


def test_one_class_needs_no_name_at_each_row() -> None:
    alone = replace(scene(torch.ones(4, 1, 28, 28), Mnist()), columns=2)
    assert np.array_equal(picture(replace(alone, classes=["7"] * 4)), picture(alone))


def test_small_images_are_enlarged_by_whole_pixels() -> None:
    data = Images.model_validate({"path": "x", "size": (8, 10), "channels": 1})
    images = torch.rand(4, 1, 8, 10) * 2 - 1
    drawn = picture(scene(images, data))
    assert drawn.shape == (2 * 26 + 2, 2 * 32 + 2, 3)
    first = to_pixels(images)[0, :, :, 0]
    assert np.array_equal(drawn[2:26, 2:32, 0], first.repeat(3, 0).repeat(3, 1))


def test_classes_stand_apart_from_each_other() -> None:
    classes = ["b", "a"] * 50
    values = torch.randn(100, 1, 20)
    series = series_figure(replace(scene(values, Normal()), classes=classes))
    assert [axes.get_title() for axes in series.axes] == ["b, 6 of 50", "a, 6 of 50"]
    points = replace(scene(values[:, 0, :2], Normal(features=2)), classes=classes)
    assert np.array_equal(points.sides(100)[1].values, values[1::2, 0, :2])
    table = table_figure(points)
    assert [text.get_text() for text in table.axes[1].get_legend().get_texts()] == ["b", "a"]
    many = replace(scene(values, Normal()), classes=[str(i) for i in range(100)])
    assert [side.name for side in many.sides(100)] == ["generated"]


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


def test_a_picture_of_some_samples_says_of_how_many() -> None:
    figure = series_figure(scene(torch.randn(9, 1, 20), Normal()))
    assert figure.axes[0].get_title() == "generated, 6 of 9"
    assert series_figure(scene(torch.randn(6, 1, 20), Normal())).axes[0].get_title() == "generated"


@pytest.mark.parametrize("layout", ["first", "last"])
def test_arrays_of_bytes_are_drawn_as_pictures(tmp_path: Path, layout: Literal["first", "last"]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 8, 6), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels if layout == "first" else np.moveaxis(pixels, 1, -1))
    spec = Arrays(path=str(tmp_path / "a.npy"), scale="minmax", channels=layout, heldout=0.5).resolved()
    dataset = spec.load(torch.device("cpu"))
    samples = dataset.real(4, torch.Generator().manual_seed(0), heldout=False)
    state = dataset.state_dict()
    alone = Scene(samples, spec, lambda some: spec.decoded(some, state), columns=2)
    drawn = picture(alone)
    assert drawn.shape == (2 * 34 + 2, 2 * 26 + 2, 3)  # each pixel as 4 x 4
    last = spec.decoded(samples[3:], state)[0]
    assert np.array_equal(drawn[36:68:4, 28:52:4], np.moveaxis(last, 0, -1) if layout == "first" else last)
    both = picture(replace(alone, real=samples))
    assert both.shape == (WORD_HEIGHT + 2 * 34 + 2, 2 * (2 * 26 + 2) + 16, 3)
    assert np.array_equal(both[WORD_HEIGHT:, : 2 * 26 + 2], drawn)


def test_equal_samples_can_be_drawn() -> None:
    assert picture(scene(torch.full((64, 1), 2.5), Normal())).std() > 0


@pytest.mark.parametrize(("columns", "pairs"), [(20, 190), (2000, 4950)])
def test_a_wide_table_shows_as_many_pairs_as_can_be_seen(columns: int, pairs: int) -> None:
    values = torch.randn(50, columns, generator=torch.Generator().manual_seed(0))
    figure = table_figure(scene(values, Normal(features=columns)))
    assert [len(axes.lines[0].get_ydata()) for axes in figure.axes] == [columns, columns, pairs]
    if columns == 20:
        expected = np.corrcoef(values.numpy().T)[np.triu_indices(columns, 1)]
        np.testing.assert_allclose(figure.axes[2].lines[0].get_ydata(), expected, rtol=1e-4, atol=1e-6)


def test_a_surface_holds_a_critics_scores_and_slopes_around_the_samples() -> None:
    samples = torch.tensor([[0.0, 0.0], [4.0, 2.0]])
    surface = Surface.around(samples, lambda x: 3 * x[:, 0] - x[:, 1])
    assert surface.extent == pytest.approx((-1, 5, -1, 3), abs=0.01)  # a quarter of 4 beyond
    assert surface.scores.shape == (60, 60)
    corners = [surface.scores[row, column] for row in (0, -1) for column in (0, -1)]
    assert corners == pytest.approx([-2, 16, -6, 12], abs=0.02)  # from the lower left on
    assert (surface.slopes == [3, -1]).all()
    assert surface.points.min(0) == pytest.approx([-1, -1], abs=0.01)


def test_both_sides_of_a_column_have_the_same_bins() -> None:
    fine, whole = np.linspace(0, 1, 400)[:, None], np.arange(100.0)[:, None] % 3
    assert (
        len(_edges([Side("generated", GENERATED, fine), Side("real", TARGET, fine[:100])], 0)) == 11
    )  # as the smaller side allows
    assert _edges([Side("generated", "", whole), Side("real", "", whole[:9])], 0).tolist() == [-0.5, 0.5, 1.5, 2.5]


ODD = ["n\nl", "$5_$10", "_hidden", "b$x^$", "кот", "\r"]


def test_odd_names_of_classes_are_drawn_as_they_stand() -> None:
    classes = [ODD[i % len(ODD)] for i in range(48)]
    values = torch.randn(48, 1, 20, generator=torch.Generator().manual_seed(0))
    series = series_figure(replace(scene(values, Normal()), classes=classes))
    assert [axes.get_title() for axes in series.axes][:3] == ["n?l, 6 of 8", r"\$5_\$10, 6 of 8", " _hidden, 6 of 8"]
    rendered(series)  # which reads the names as markup
    table = table_figure(replace(scene(values[:, 0, :2], Normal(features=2)), classes=classes))
    assert len(table.axes[1].get_legend().get_texts()) == len(ODD)
    rendered(table)
    rows = [name for name in ODD for _ in range(8)]
    images = replace(scene(torch.zeros(48, 1, 28, 28), Mnist()), columns=8, classes=rows)
    assert picture(images).shape[0] == 6 * 30 + 2


def test_a_rare_class_leaves_the_bins_of_the_others() -> None:
    values = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    rare = table_figure(replace(scene(values, Normal(features=2)), classes=["a"] * 399 + ["b"]))
    both = [len(patch.get_xy()) for patch in rare.axes[0].patches]
    assert min(both) > 20


def test_long_images_are_not_enlarged_beyond_measure() -> None:
    data = Images.model_validate({"path": "x", "size": (2, 400), "channels": 1})
    assert picture(scene(torch.zeros(1, 1, 2, 400), data)).shape == (2, 400, 3)
