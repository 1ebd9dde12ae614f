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


def test_distances_of_near_points_are_as_exact_as_others() -> None:
    x, y = normal(0, 40, 300) + 1000, normal(1, 30, 300) + 1000
    near = torch.cat([x[:1] + 1e-6, y, x[3:5]])  # far too near for squares: ‖x‖² is 300, the distance 2e-5
    torch.testing.assert_close(quick_distances(x, near), distances(x, near), rtol=1e-9, atol=0)
    assert (quick_distances(x, x).diagonal() == 0).all()
    coinciding = x[:1].expand(40, -1)
    assert (quick_distances(coinciding, coinciding) == 0).all()


def test_where_most_points_are_near_or_squares_overflow_differences_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(0, 40, 300), normal(1, 30, 300)
    for scale in (1e-200, 1e200):  # squares that are no float64
        assert torch.equal(quick_distances(x * scale, y * scale), distances(x * scale, y * scale))
    monkeypatch.setattr(costs, "PIECE", 300 * 39)
    assert torch.equal(quick_distances(x, x), distances(x, x))


def test_gradients_and_batches_go_by_differences() -> None:
    x, y = normal(0, 4, 300), normal(1, 3, 300)
    assert quick_distances(x.clone().requires_grad_(), y).requires_grad
    assert quick_distances(x.expand(2, 4, 300), y.expand(2, 3, 300)).shape == (2, 4, 3)
