import pytest
import torch

from wgan_cli.plots.plan import plan_figure


@pytest.mark.parametrize("features", [2, 5])
def test_a_plan_is_drawn_and_clouds_only_in_the_plane(features: int) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(6, features), torch.randn(6, features)
    figure = plan_figure(x, y, torch.eye(6) / 6, 1)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[:2] == ["cost matrix", "coupling matrix"]
    assert len(titles) == (3 if features == 2 else 2)
    if features == 2:
        (lines,) = figure.axes[2].collections[:1]
        drawn = {tuple(map(tuple, segment.round(4).tolist())) for segment in lines.get_segments()}
        wanted = {tuple(map(tuple, pair.numpy().round(4).tolist())) for pair in torch.stack([x, y], 1).double()}
        assert drawn == wanted


def test_a_large_plan_is_drawn_in_cells_that_hold_all_its_mass() -> None:
    x, y = torch.linspace(0, 1, 900)[:, None], torch.linspace(0, 1, 500)[:, None]
    plan = torch.zeros(900, 500)
    plan[torch.arange(900), torch.arange(900) * 500 // 900] = 1 / 900
    axes = plan_figure(x, y, plan, 1).axes
    cost, coupling = (ax.images[0].get_array() for ax in axes[:2])
    assert cost.shape == coupling.shape == (180, 167)
    assert coupling.sum() == pytest.approx(1, rel=1e-2)  # the last column is of 2 points, not of 3
    assert (coupling.max(1) > 0).all()
    assert axes[1].images[0].get_extent() == [0, 500, 900, 0]
    assert "mass moved, of 5 x 3 points a cell" in [ax.get_ylabel() for ax in axes]
