import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.lipschitz.helpers import SHAPES, linear_critic, pair, uniform
from wgan_cli.lipschitz.slope import between, slopes


@pytest.mark.parametrize("shape", SHAPES)
def test_a_linear_critics_slope_is_the_norm_of_its_weight(shape: tuple[int, ...]) -> None:
    points, _ = pair(shape)
    torch.testing.assert_close(slopes(linear_critic(shape, 2.5), points), torch.full((6,), 2.5, dtype=torch.float64))


def test_slopes_are_computed_in_float32_at_least() -> None:
    critic = linear_critic((64,), 1.0).to(torch.bfloat16)
    points = torch.randn(4, 64, dtype=torch.bfloat16)
    assert slopes(critic, points).dtype == torch.float32
    assert slopes(critic.double(), points.double()).dtype == torch.float64


@given(st.sampled_from(SHAPES))
def test_points_lie_between_with_one_weight_a_sample(shape: tuple[int, ...]) -> None:
    real, fake = pair(shape)
    weights = ((between(real, fake, uniform(real)) - fake) / (real - fake)).flatten(1)
    assert torch.allclose(weights, weights[:, :1], atol=1e-6)
    assert weights.min() > -1e-9
    assert weights.max() < 1 + 1e-9
    assert weights[:, 0].unique().numel() == len(real)


def test_the_points_and_their_graph_are_left_alone() -> None:
    leaf = torch.randn(4, 3)
    slopes(lambda points: points.sum(1), leaf)
    assert not leaf.requires_grad
    scaled = torch.ones(3, requires_grad=True)
    slopes(lambda points: points.square().sum(1), leaf * scaled, create_graph=True).sum()  # of points with a graph
    assert scaled.grad is None
