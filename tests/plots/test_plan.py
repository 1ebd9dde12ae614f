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
