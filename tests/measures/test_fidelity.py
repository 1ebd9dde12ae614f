"""Overlap of two sets of points, against SciPy's neighbours and known answers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import KDTree
from torch import Tensor

from wgan_cli.measures.fidelity import frechet, overlap
from wgan_cli.transport import costs


def points(count: int, dim: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def by_scipy(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """The four figures by their definitions, ball by ball."""

    def radii(of: np.ndarray, neighbours: int) -> np.ndarray:
        return KDTree(of).query(of, neighbours + 1)[0][:, -1]

    def inside(centres: np.ndarray, radii: np.ndarray, others: np.ndarray) -> np.ndarray:
        return np.linalg.norm(others[:, None] - centres, axis=2) <= radii

    near_real, near_fake = inside(real, radii(real, 3), fake), inside(fake, radii(fake, 3), real)
    balls = inside(real, radii(real, 5), fake)
    return {
        "fidelity/precision": near_real.any(1).mean(),
        "fidelity/recall": near_fake.any(1).mean(),
        "fidelity/density": balls.sum() / (5 * len(fake)),
        "fidelity/coverage": balls.any(0).mean(),
    }


@settings(deadline=None, max_examples=25)
@given(st.integers(6, 60), st.integers(6, 60), st.integers(1, 5), st.floats(-1, 1))
def test_overlap_is_that_of_the_definitions(count: int, others: int, dim: int, shift: float) -> None:
    fake, real = points(count, dim, 1).double() + shift, points(others, dim, 2).double()
    assert overlap(fake, real).figures() == pytest.approx(by_scipy(fake.numpy(), real.numpy()))


def test_many_points_are_measured_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "PIECE", 700 * 2100)
    fake, real = points(2500, 3, 1), points(2100, 3, 2)
    assert overlap(fake, real).figures() == pytest.approx(by_scipy(fake.numpy(), real.numpy()), abs=2e-3)


def test_a_lost_mode_costs_recall_and_coverage_but_no_precision() -> None:
    far = torch.tensor([100.0, 0.0])
    real = torch.cat([points(500, seed=1), points(500, seed=2) + far])
    found = overlap(points(1000, seed=3), real).figures()
    assert found["fidelity/precision"] > 0.95
    assert found["fidelity/recall"] == pytest.approx(0.5, abs=0.03)
    assert found["fidelity/coverage"] < 0.52
    stray = overlap(torch.cat([real + 1e-3 * points(1000, seed=4), points(1000) - far]), real).figures()
    assert stray["fidelity/precision"] == pytest.approx(0.5, abs=0.03)
    assert stray["fidelity/recall"] > 0.95
    assert stray["fidelity/density"] == pytest.approx(0.5, abs=0.1)


def test_six_points_are_the_least() -> None:
    overlap(points(6), points(6))
    with pytest.raises(ValueError, match="more than 5 samples"):
        overlap(points(6), points(5))


def test_the_frechet_distance_of_a_shift_is_its_square() -> None:
    x = points(500, 3)
    assert frechet(x, x + 2) == pytest.approx(12, rel=1e-5)
    assert frechet(x, x) == pytest.approx(0, abs=1e-6)
