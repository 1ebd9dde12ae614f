import pytest
import torch
from torch import Tensor, nn

from tests.lipschitz.helpers import SHAPES, linear_critic, pair
from wgan_cli.lipschitz.estimate import estimate, largest_slope, mean_score, w1_estimate

DOUBLE = torch.float64


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", [0.25, 3.0])
def test_a_linear_critics_largest_slope_is_the_norm_of_its_weight(shape: tuple[int, ...], norm: float) -> None:
    assert largest_slope(linear_critic(shape, norm), *pair(shape)).item() == pytest.approx(norm, abs=1e-12)


@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_a_linear_critic_along_a_shift_estimates_its_length(norm: float) -> None:
    """W1(x, x + 3) = 3, whatever the critic's slope."""
    critic, (fake, _) = linear_critic((4,), norm), pair((4,))
    weight = critic[1].weight.detach()
    view = estimate(critic, fake + 3 * weight / weight.norm(), fake)
    assert view.gap == pytest.approx(3 * norm)
    assert view.lipschitz == pytest.approx(norm)
    assert view.w1 == pytest.approx(3)


def test_a_flat_critic_gives_no_estimate() -> None:
    view = estimate(linear_critic((4,), 0.0), *pair((4,)))
    assert (view.gap, view.lipschitz, view.w1) == (0, 0, None)
    assert w1_estimate(1.0, 0.0) is None


@pytest.mark.parametrize("counts", [(6, 11), (11, 6), (1, 6)])
def test_sets_may_differ_in_size(counts: tuple[int, int]) -> None:
    seen: list[Tensor] = []

    def critic(points: Tensor) -> Tensor:
        seen.append(points.detach())
        return points.square().sum(1) / 2  # its slope at x is ‖x‖

    real, fake = (torch.randn(count, 3, dtype=DOUBLE) for count in counts)
    largest = largest_slope(critic, real, fake)
    points = torch.cat(seen)
    assert len(points) == sum(counts) + max(counts)
    assert largest.item() == pytest.approx(points.norm(dim=1).max().item())
    assert all((points == sample).all(1).any() for sample in torch.cat([real, fake]))
    for i, middle in enumerate(points[sum(counts) :]):  # the shorter set is repeated
        one, other = real[i % len(real)], fake[i % len(fake)]
        assert ((middle - one).norm() + (middle - other).norm()).item() == pytest.approx((one - other).norm().item())


def test_the_points_between_fill_the_way_from_fake_to_real_evenly() -> None:
    seen: list[Tensor] = []

    def critic(points: Tensor) -> Tensor:
        seen.append(points.detach())
        return points.sum(1)

    largest_slope(critic, torch.ones(100, 1, dtype=DOUBLE), torch.zeros(100, 1, dtype=DOUBLE))
    weights = torch.cat(seen)[200:, 0].sort().values
    assert 0 <= weights[0] < 0.02
    assert 0.98 < weights[-1] < 1
    assert weights.diff().max() < 0.03  # of 100 random points, the largest hole is near 0.05


def test_a_slope_between_the_samples_is_seen() -> None:
    """A step of slope 50 in the middle, between samples where the critic is flat."""
    real, fake = torch.full((64, 1), 1.0, dtype=DOUBLE), torch.full((64, 1), -1.0, dtype=DOUBLE)
    assert largest_slope(lambda x: (50 * x).clamp(-5, 5).sum(1), real, fake).item() == pytest.approx(50)


def test_batches_change_no_result() -> None:
    critic, (real, fake) = (
        nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)).double(),
        pair((3,)),
    )
    assert torch.allclose(largest_slope(critic, real, fake), largest_slope(critic, real, fake, batch_size=5))
    assert torch.allclose(mean_score(critic, real), mean_score(critic, real, batch_size=5))
    assert mean_score(critic, real).item() == pytest.approx(critic(real).mean().item())


def test_measuring_draws_no_random_numbers() -> None:
    critic, (real, fake) = linear_critic((3,), 1.0), pair((3,))
    before = torch.get_rng_state()
    estimate(critic, real, fake)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_points_between_are_those_of_the_golden_ratio() -> None:
    seen: list[Tensor] = []

    def critic(points: Tensor) -> Tensor:
        seen.append(points.detach())
        return points.sum(1)

    largest_slope(critic, torch.ones(4, 1), torch.zeros(4, 1))
    expected = [0, 0.6180339887, 0.2360679775, 0.8541019662]  # i φ mod 1
    assert torch.cat(seen)[8:, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_figures_are_float32_at_least_and_carry_no_graph() -> None:
    critic = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)).to(torch.bfloat16)
    samples = torch.randn(6, 4, dtype=torch.bfloat16)
    score = mean_score(critic, samples)
    assert (score.dtype, score.requires_grad) == (torch.float32, False)
    assert largest_slope(critic, samples, samples).dtype == torch.float32


def test_no_batch_of_points_is_left_out() -> None:
    """The steepest point is the last of the fake samples, beyond the first batches."""

    def critic(points: Tensor) -> Tensor:
        return points.square().sum(1) / 2

    real, fake = torch.zeros(50, 1), torch.zeros(50, 1)
    fake[-1] = 7
    assert largest_slope(critic, real, fake, batch_size=8).item() == 7
    assert mean_score(critic, fake, batch_size=8).item() == pytest.approx(49 / 2 / 50)
