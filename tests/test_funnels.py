"""The pairs of known W1, against POT and the laws that their construction promises."""

import importlib.util
import sys

import pytest
import torch

from tests.test_scripts import SCRIPTS
from wgan_cli.transport import exact_wasserstein

spec = importlib.util.spec_from_file_location("funnels", SCRIPTS / "funnels.py")
assert spec is not None
assert spec.loader is not None
funnels = importlib.util.module_from_spec(spec)
sys.modules["funnels"] = funnels
spec.loader.exec_module(funnels)


@pytest.mark.parametrize(("dim", "count"), [(1, 3), (2, 1), (2, 64), (16, 8)])
def test_the_mean_length_is_exact_w1_of_the_moved_points(dim: int, count: int) -> None:
    drawn = funnels.Funnels.draw(count, dim, seed=0)
    before = 2.5 * (2 * torch.rand(300, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 1)
    after = drawn.moved(before)
    assert (after.abs() <= 2.5 + 1e-9).all()
    assert torch.equal(drawn.nearest(after), drawn.nearest(before))  # no ray leaves its funnel
    lengths = torch.linalg.vector_norm(after - before, dim=1)
    assert exact_wasserstein(after, before).item() == pytest.approx(lengths.mean().item(), rel=1e-6)


def test_points_move_along_the_slopes() -> None:
    drawn = funnels.Funnels.draw(16, 3, seed=0)
    before = 2.5 * (2 * torch.rand(100, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 1)
    move = drawn.moved(before) - before
    assert torch.allclose(torch.nn.functional.normalize(move, dim=1), drawn.slopes(before))


def test_the_number_from_the_published_pair_size() -> None:
    """16 dimensions and 64 funnels: W1 near 1.55; with other seeds it differs by some percent."""
    _, _, w1 = funnels.Funnels.draw(64, 16, seed=0).sample(20_000, seed=0)
    assert w1 == pytest.approx(1.55, rel=0.1)
