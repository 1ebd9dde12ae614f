"""The upper bound of W1, against known distances and SciPy."""

from importlib import import_module

import pytest
import scipy.stats
import torch

from wgan_cli.transport.discrete import exact_wasserstein
from wgan_cli.transport.upper_bound import upper_bound


def draws(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_students_limit_of_the_distances_between_disjoint_batches() -> None:
    x, y = draws(0, 45, 2), draws(1, 60, 2) + 1
    found = upper_bound(x, y, confidence=0.9)
    assert (found.batches, found.batch_size) == (10, 4)
    distances = [exact_wasserstein(x[i : i + 4], y[i : i + 4]).item() for i in range(0, 40, 4)]
    mean, error = sum(distances) / 10, scipy.stats.sem(distances)
    assert found.mean == pytest.approx(mean)
    assert found.high == pytest.approx(scipy.stats.t.interval(0.8, 9, mean, error)[1])


def test_batches_have_a_limit_but_not_on_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("wgan_cli.transport.upper_bound"), "BATCH_SIZE", 5)
    plane, line = draws(0, 100, 2), draws(0, 100, 1)
    assert (upper_bound(plane, plane.flip(0)).batch_size, upper_bound(line, line.flip(0)).batch_size) == (5, 10)
    assert upper_bound(plane, plane.flip(0)).batches == 10


@pytest.mark.parametrize(("shift", "dim"), [(0.0, 1), (3.0, 1), (1.0, 2)])
def test_the_limit_is_rarely_below_the_truth(shift: float, dim: int) -> None:
    """Of 200 draws, at most so many as 99.9 % of fair ones have."""
    offset = torch.zeros(dim, dtype=torch.float64)
    offset[0] = shift
    wrong = sum(
        upper_bound(draws(seed, 60, dim) + offset, draws(seed + 10**6, 60, dim)).high < shift for seed in range(200)
    )
    assert wrong <= scipy.stats.binom.ppf(0.999, 200, 0.05)


def test_more_samples_bring_it_nearer_to_the_truth() -> None:
    few, many = (upper_bound(draws(0, count, 1) + 1, draws(1, count, 1)).high for count in (100, 10_000))
    assert 0.95 < many < 1.05 < few


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least four samples of each set"):
        upper_bound(draws(0, 3, 1), draws(1, 9, 1))
    assert upper_bound(draws(0, 4, 1), draws(1, 9, 1)).batches == 2
