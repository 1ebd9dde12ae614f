import pytest
import torch

from tests.transport.helpers import normal
from wgan_cli.transport import costs
from wgan_cli.transport.costs import distances, quick_distances


@pytest.mark.parametrize("length", [2, 63, 64, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quick_distances_are_those_by_differences(length: int, dtype: torch.dtype) -> None:
    x, y = ((normal(seed, count, length) + 1000).to(dtype) for seed, count in ((0, 40), (1, 30)))
    expected = distances(x.double(), y.double()).to(dtype)
    found = quick_distances(x, y)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, rtol=1e-9 if dtype == torch.float64 else 1e-6, atol=0)


@pytest.mark.parametrize("length", [64, 3072])
@pytest.mark.parametrize("distance", [1e-14, 1e-9, 1e-5, 1.2e-4, 3e-4, 1])
def test_distances_of_near_points_are_as_exact_as_others(length: int, distance: float) -> None:
    """Far too near for squares: ‖x‖² is the length."""
    x = normal(0, 40, length) + 3
    near = x + distance * normal(1, 40, length)
    torch.testing.assert_close(quick_distances(x, near), distances(x, near), rtol=1e-7, atol=0)


def test_points_that_coincide_have_no_distance() -> None:
    x = normal(0, 40, 300)
    assert (quick_distances(x, x).diagonal() == 0).all()
    coinciding = x[:1].expand(40, -1)
    assert (quick_distances(coinciding, coinciding) == 0).all()


def test_where_most_points_are_near_or_squares_overflow_differences_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(0, 40, 300), normal(1, 30, 300)
    assert (quick_distances(x * 1e200, y * 1e200) == torch.inf).all()  # as by differences, and not NaN
    large = x.float() * 1e30, y.float() * 1e30  # whose squares are float64
    torch.testing.assert_close(quick_distances(*large).double(), 1e30 * distances(x, y), rtol=1e-6, atol=0)
    assert not torch.equal(quick_distances(x, y), distances(x, y))  # else the next line could not fail
    monkeypatch.setattr(costs, "MOST_NEAR", -1)
    assert torch.equal(quick_distances(x, y), distances(x, y))


def test_long_points_are_taken_some_columns_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(0, 40, 300), torch.cat([normal(1, 30, 300), normal(0, 40, 300)[:20]])
    whole = quick_distances(x, y)
    monkeypatch.setattr(costs, "BLOCK", 700)
    torch.testing.assert_close(quick_distances(x, y), whole, rtol=1e-12, atol=0)


def test_empty_sets_have_no_distances() -> None:
    assert quick_distances(torch.rand(0, 100), torch.rand(5, 100)).shape == (0, 5)


def test_gradients_and_batches_go_by_differences() -> None:
    x, y = normal(0, 4, 300), normal(1, 3, 300)
    assert quick_distances(x.clone().requires_grad_(), y).requires_grad
    assert quick_distances(x.expand(2, 4, 300), y.expand(2, 3, 300)).shape == (2, 4, 3)
