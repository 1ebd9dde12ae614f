"""Optimal transport: problems with known answers, the laws of distances, and POT and SciPy as witnesses."""

import itertools
import math
import subprocess
import sys
import warnings

import numpy as np
import ot
import pytest
import scipy.integrate
import scipy.linalg
import scipy.optimize
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from wgan_cli.transport import (
    discrete,
    entropic,
    exact_wasserstein,
    gaussian_w2,
    gaussian_w2_squared,
    line,
    sinkhorn,
    sinkhorn_divergence,
    sliced_wasserstein,
    wasserstein_1d,
    wasserstein_1d_normal,
)

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 12)
orders = st.sampled_from([1, 1.5, 2, 3])
few = settings(max_examples=25, deadline=None, derandomize=True)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
DOUBLE = torch.float64


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def masses(seed: int, *shape: int) -> Tensor:
    """Positive weights that do not sum to 1."""
    return 0.1 + torch.rand(shape, generator=torch.Generator().manual_seed(seed + 1), dtype=DOUBLE)


def shuffled(seed: int, x: Tensor, dim: int) -> Tensor:
    return x.index_select(dim, torch.randperm(x.shape[dim], generator=torch.Generator().manual_seed(seed)))


def tracked(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.clone().requires_grad_() for tensor in tensors)


def simplex(weights: Tensor) -> np.ndarray:
    return (weights / weights.sum()).numpy()


# --- what holds for every distance between clouds ----------------------------------------------------------

DISTANCES = {
    "1d": lambda x, y, p: wasserstein_1d(x[..., 0], y[..., 0], p),
    "exact": exact_wasserstein,
    "sliced": lambda x, y, p: sliced_wasserstein(x, y, 16, p, torch.Generator().manual_seed(0)),
}
every_distance = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)


@every_distance
@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_distance_is_symmetric_blind_to_order_and_translation_and_scales(distance, seed, n, m, p):
    x, y = normal(seed, n, 3), normal(seed + 1, m, 3) + 1
    between = distance(x, y, p)
    same = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(distance(y, x, p), between, **same)
    torch.testing.assert_close(distance(shuffled(seed, x, 0), shuffled(seed + 1, y, 0), p), between, **same)
    torch.testing.assert_close(distance(x + 5, y + 5, p), between, **same)
    torch.testing.assert_close(distance(-3 * x, -3 * y, p), 3 * between, **same)


@every_distance
@few
@given(seed=seeds, n=sizes, m=sizes, k=sizes, p=orders)
def test_distance_obeys_the_triangle_inequality(distance, seed, n, m, k, p):
    x, y, z = normal(seed, n, 3), normal(seed + 1, m, 3) + 1, normal(seed + 2, k, 3) * 2
    assert distance(x, z, p) <= distance(x, y, p) + distance(y, z, p) + 1e-9


@every_distance
@few
@given(seed=seeds, n=sizes, p=orders)
def test_distance_grows_with_p_and_vanishes_between_equal_clouds(distance, seed, n, p):
    x, y = normal(seed, n, 3), normal(seed + 1, n, 3)
    assert distance(x, shuffled(seed, x, 0), p) == pytest.approx(0, abs=1e-12)
    assert distance(x, y, p) <= distance(x, y, p + 1) + 1e-12


@every_distance
@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_distance_of_a_batch_is_that_of_each_pair(distance, p):
    x, y = normal(0, 2, 3, 6, 2), normal(1, 3, 4, 2)
    each = torch.stack([torch.stack([distance(x[i, j], y[j], p) for j in range(3)]) for i in range(2)])
    torch.testing.assert_close(distance(x, y, p), each)


@every_distance
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
@pytest.mark.parametrize("m", [4, 6])
def test_gradient_of_distance_is_right(distance, p, m):
    assert gradcheck(lambda x, y: distance(x, y, p), tracked(normal(0, 2, 4, 2), normal(1, 2, m, 2) + 1))


@every_distance
@both_dtypes
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_gradient_is_zero_at_distance_zero(distance, dtype, p):
    (x,) = tracked(normal(0, 5, 2).to(dtype))
    distance(x, x.detach(), p).backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


@every_distance
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_tiny_and_huge_distances_do_not_under_or_overflow_in_float32(distance, scale):
    x, y = normal(0, 5, 2), normal(1, 5, 2)
    for p in (1, 2, 5):
        single = distance((x * scale).float(), (y * scale).float(), p).item()
        assert single / scale == pytest.approx(distance(x, y, p).item(), rel=1e-5)


# --- one dimension -----------------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_a_shift_by_3_is_at_distance_3(dtype, p):
    x = normal(0, 7, 100).to(dtype)
    torch.testing.assert_close(wasserstein_1d(x, x + 3, p), torch.full((7,), 3, dtype=dtype))


def test_unequal_sizes_by_hand():
    # Thirds against halves: 0 and 0 share 1/3, 0 and 3 share 1/6, 1 and 3 share 1/6, 2 and 3 share 1/3.
    x, y = torch.tensor([2.0, 0, 1]), torch.tensor([3.0, 0])
    x, y = x.sort().values, y.sort().values
    assert wasserstein_1d(x, y).item() == pytest.approx(0 / 3 + 1 / 6 + 2 / 6 + 1 / 3)
    assert wasserstein_1d(x, y, 2).item() == pytest.approx(math.sqrt(0 / 3 + 1 / 6 + 4 / 6 + 1 / 3))


@few
@given(seed=seeds, n=sizes, m=sizes)
def test_weighted_w1_agrees_with_scipy(seed, n, m):
    x, y, a, b = normal(seed, n), normal(seed + 1, m), masses(seed, n), masses(seed + 2, m)
    expected = scipy.stats.wasserstein_distance(x, y, a, b)
    assert wasserstein_1d(x, y, 1, a, b).item() == pytest.approx(expected, rel=1e-9)
    expected = scipy.stats.wasserstein_distance(x, y)
    assert wasserstein_1d(x, y).item() == pytest.approx(expected, rel=1e-9)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_weighted_wp_agrees_with_pot(seed, n, m, p):
    x, y, a, b = normal(seed, n), normal(seed + 1, m), masses(seed, n), masses(seed + 2, m)
    cost = ot.wasserstein_1d(x.numpy(), y.numpy(), simplex(a), simplex(b), p=p)
    assert wasserstein_1d(x, y, p, a, b).item() == pytest.approx(cost ** (1 / p), rel=1e-9)


@few
@given(seed=seeds, counts=st.lists(st.integers(0, 4), min_size=2, max_size=8).filter(any))
def test_whole_weights_are_repetitions(seed, counts):
    x, y = normal(seed, len(counts)), normal(seed + 1, 5)
    weights = torch.tensor(counts, dtype=DOUBLE)
    repeated = x.repeat_interleave(torch.tensor(counts))
    for p in (1, 2):
        torch.testing.assert_close(wasserstein_1d(x, y, p, weights), wasserstein_1d(repeated, y, p))


def test_one_cloud_with_a_batch_of_weights_is_a_batch():
    x, y, b = normal(0, 5, 2), normal(1, 4, 2), masses(1, 3, 4)
    distances = [
        lambda b: wasserstein_1d(x[:, 0], y[:, 0], 2, None, b),
        lambda b: exact_wasserstein(x, y, 2, None, b),
        lambda b: sliced_wasserstein(x, y, 4, 2, torch.Generator().manual_seed(0), None, b),
        lambda b: sinkhorn(x, y, 0.5, 2, None, b, tolerance=1e-12).cost,
        lambda b: sinkhorn_divergence(x, y, 0.5, 2, None, b, tolerance=1e-12),
        lambda b: wasserstein_1d_normal(y[:, 0], 0, 1, 1, b),
    ]
    for solve in distances:
        torch.testing.assert_close(solve(b), torch.stack([solve(row) for row in b]))


def test_weights_broadcast_over_the_batch_and_have_gradients():
    x, y, a, b = normal(0, 3, 5), normal(1, 4), masses(0, 5), masses(1, 4)
    each = torch.stack([wasserstein_1d(row, y, 2, a, b) for row in x])
    torch.testing.assert_close(wasserstein_1d(x, y, 2, a, b), each)
    assert gradcheck(lambda *given: wasserstein_1d(given[0], given[1], 2, *given[2:]), tracked(x, y, a, b))


def test_a_light_weight_far_away_keeps_its_mass_in_float32():
    """A running sum of float32 weights would know the last of these to 6 % only."""
    x, a = torch.zeros(1000), torch.ones(1000)
    x[-1], a[-1] = 1e6, 1e-3
    assert wasserstein_1d(x, torch.zeros(1), 1, a).item() == pytest.approx(1e3 / 999.001, rel=1e-4)


# --- against a normal --------------------------------------------------------------------------------------


@both_dtypes
def test_one_point_at_the_mean_is_a_mean_deviation_away_in_w1_and_a_std_in_w2(dtype):
    x = torch.tensor([5.0], dtype=dtype)
    assert wasserstein_1d_normal(x, 5, 2).item() == pytest.approx(2 * math.sqrt(2 / math.pi))
    assert wasserstein_1d_normal(x, 5, 2, 2).item() == pytest.approx(2)
    assert wasserstein_1d_normal(x, 0, 1e-9).item() == pytest.approx(5)


def test_samples_beyond_the_normal_are_as_far_as_their_mean():
    x = normal(0, 50) + 1000
    assert wasserstein_1d_normal(x, 3, 2).item() == pytest.approx(x.mean().item() - 3, rel=1e-12)
    assert wasserstein_1d_normal(-x, 3, 2).item() == pytest.approx(x.mean().item() + 3, rel=1e-12)


@few
@given(seed=seeds, n=sizes, mean=st.floats(-3, 3), std=st.floats(0.1, 3))
def test_normal_agrees_with_an_integral_over_levels(seed, n, mean, std):
    x, a = normal(seed, n).sort().values, masses(seed, n)
    levels = np.concatenate([[0], np.cumsum(simplex(a))])
    quantile = scipy.stats.norm(mean, std).ppf
    for p in (1, 2):
        cost = sum(
            scipy.integrate.quad(lambda u, i=i: abs(x[i].item() - quantile(u)) ** p, lo, hi, limit=200)[0]  # noqa: B023
            for i, (lo, hi) in enumerate(itertools.pairwise(levels))
        )
        assert wasserstein_1d_normal(x, mean, std, p, a).item() == pytest.approx(cost ** (1 / p), rel=1e-5)


@pytest.mark.parametrize("p", [1, 2])
def test_normal_is_the_limit_of_its_own_fine_quantiles(p):
    x = normal(0, 3, 40)
    fine = torch.special.ndtri((torch.arange(400_000, dtype=DOUBLE) + 0.5) / 400_000) * 0.5 + 1
    expected = wasserstein_1d(x, fine, p)
    torch.testing.assert_close(wasserstein_1d_normal(x, 1, 0.5, p), expected, rtol=1e-4, atol=0)


@both_dtypes
def test_the_quantiles_of_a_normal_are_close_to_it_even_in_float32(dtype):
    x = torch.special.ndtri((torch.arange(100_000, dtype=DOUBLE) + 0.5) / 100_000)
    expected = wasserstein_1d_normal(x, 0, 1).item()
    assert 0 < expected < 1e-4
    assert wasserstein_1d_normal(x.to(dtype), 0, 1).item() == pytest.approx(expected, rel=1e-3)


def test_normal_has_gradients_in_samples_mean_std_and_weights_and_broadcasts():
    inputs = tracked(normal(0, 3, 5), normal(1, 3), 0.5 + masses(2, 3), masses(3, 5))
    for p in (1, 2):
        assert gradcheck(lambda x, mean, std, a, p=p: wasserstein_1d_normal(x, mean, std, p, a), inputs)
    x, mean, std, _ = inputs
    each = torch.stack([wasserstein_1d_normal(x[i], mean[i], std[i]) for i in range(3)])
    torch.testing.assert_close(wasserstein_1d_normal(x, mean, std), each)


def test_normal_refuses_what_is_none():
    x = torch.zeros(3)
    with pytest.raises(ValueError, match="std must be positive"):
        wasserstein_1d_normal(x, 0, 0)
    with pytest.raises(ValueError, match="std must be positive"):
        wasserstein_1d_normal(x, 0, -1)
    with pytest.raises(ValueError, match="mean must be finite"):
        wasserstein_1d_normal(x, math.nan, 1)
    with pytest.raises(ValueError, match="p must be 1 or 2"):
        wasserstein_1d_normal(x, 0, 1, 3)
    with pytest.raises(ValueError, match="mean and the batch of x"):
        wasserstein_1d_normal(torch.zeros(2, 3), torch.zeros(4), 1)


# --- sliced ------------------------------------------------------------------------------------------------


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_sliced_agrees_with_pot_along_the_same_directions(seed, n, m, p):
    x, y, a, b = normal(seed, n, 4), normal(seed + 1, m, 4), masses(seed, n), masses(seed + 2, m)
    directions = line._directions(4, 20, torch.Generator().manual_seed(seed)).numpy()
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), simplex(a), simplex(b), p=p, projections=directions)
    actual = sliced_wasserstein(x, y, 20, p, torch.Generator().manual_seed(seed), a, b)
    assert actual.item() == pytest.approx(expected, rel=1e-9)


def test_directions_are_uniform_on_the_sphere():
    directions = line._directions(3, 20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(20_000, dtype=DOUBLE))
    second_moment = directions @ directions.T / 20_000
    torch.testing.assert_close(second_moment, torch.eye(3, dtype=DOUBLE) / 3, rtol=0, atol=0.01)
    torch.testing.assert_close(directions.mean(dim=1), torch.zeros(3, dtype=DOUBLE), rtol=0, atol=0.02)


def test_sliced_w2_of_a_shift_is_its_norm_over_root_dimension():
    x, shift = normal(0, 10, 4), torch.tensor([1.0, -2, 2, 4], dtype=DOUBLE)
    actual = sliced_wasserstein(x, x + shift, 20_000, 2, torch.Generator().manual_seed(0))
    assert actual.item() == pytest.approx(5 / math.sqrt(4), rel=0.02)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_sliced_never_exceeds_exact_and_equals_it_on_the_line(seed, n, m, p):
    x, y = normal(seed, n, 3), normal(seed + 1, m, 3)
    assert sliced_wasserstein(x, y, 10, p) <= exact_wasserstein(x, y, p) + 1e-12
    on_line = sliced_wasserstein(x[:, :1], y[:, :1], 3, p)
    torch.testing.assert_close(on_line, wasserstein_1d(x[:, 0], y[:, 0], p))


def test_a_generator_state_fixes_the_directions_for_both_dtypes():
    x, y = normal(0, 5, 3), normal(1, 5, 3)
    first = sliced_wasserstein(x, y, 4, generator=torch.Generator().manual_seed(7))
    assert torch.equal(sliced_wasserstein(x, y, 4, generator=torch.Generator().manual_seed(7)), first)
    single = sliced_wasserstein(x.float(), y.float(), 4, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(single.double(), first, rtol=1e-6, atol=0)
    assert sliced_wasserstein(x, y, 4, generator=torch.Generator().manual_seed(8)) != first


# --- Gaussians ---------------------------------------------------------------------------------------------


def covariance(seed: int, *shape: int) -> Tensor:
    factor = normal(seed, *shape, shape[-1])
    return factor @ factor.mT + 0.1 * torch.eye(shape[-1], dtype=DOUBLE)


def test_norms_are_squared():
    """A formula going round takes ‖μx − μy‖ and ‖Σx^½ − Σy^½‖ unsquared: 5 and 1 · √2 here."""
    zero, shift = torch.zeros(2, dtype=DOUBLE), torch.tensor([3.0, 4], dtype=DOUBLE)
    unit = torch.eye(2, dtype=DOUBLE)
    assert gaussian_w2_squared(zero, unit, shift, unit).item() == pytest.approx(25)
    assert gaussian_w2(zero, unit, shift, unit).item() == pytest.approx(5)
    assert gaussian_w2_squared(zero, unit, zero, 9 * unit).item() == pytest.approx(2 * (3 - 1) ** 2)
    assert gaussian_w2_squared(zero, unit, shift, 9 * unit).item() == pytest.approx(25 + 8)


@few
@given(seed=seeds, dimension=st.integers(1, 6))
def test_gaussians_agree_with_scipy_and_pot(seed, dimension):
    mean_x, mean_y = normal(seed, dimension), normal(seed + 1, dimension)
    cov_x, cov_y = covariance(seed, dimension), covariance(seed + 1, dimension)
    actual = gaussian_w2_squared(mean_x, cov_x, mean_y, cov_y).item()
    cross = scipy.linalg.sqrtm((cov_x @ cov_y).numpy()).real
    expected = ((mean_x - mean_y) ** 2).sum() + cov_x.trace() + cov_y.trace() - 2 * np.trace(cross)
    assert actual == pytest.approx(expected.item(), rel=1e-8)
    arrays = [tensor.numpy() for tensor in (mean_x, mean_y, cov_x, cov_y)]
    assert math.sqrt(actual) == pytest.approx(ot.gaussian.bures_wasserstein_distance(*arrays), rel=1e-8)


@few
@given(seed=seeds, dimension=st.integers(1, 4), scale=st.floats(0.1, 10))
def test_gaussian_w2_is_a_distance_and_scales(seed, dimension, scale):
    gaussians = [(normal(seed + i, dimension), covariance(seed + i, dimension)) for i in range(3)]
    x, y, z = gaussians
    assert gaussian_w2(*x, *y).item() == pytest.approx(gaussian_w2(*y, *x).item(), rel=1e-9)
    assert gaussian_w2(*x, *z) <= gaussian_w2(*x, *y) + gaussian_w2(*y, *z) + 1e-9
    assert gaussian_w2_squared(*x, *x).item() == pytest.approx(0, abs=1e-10)
    scaled = [(mean * scale + 1, cov * scale**2) for mean, cov in (x, y)]
    expected = scale * gaussian_w2(*x, *y).item()
    assert gaussian_w2(*scaled[0], *scaled[1]).item() == pytest.approx(expected, rel=1e-9)


def test_gaussian_w2_in_one_dimension_is_the_distance_of_means_and_stds():
    mean, variance = torch.ones(1), torch.ones(1, 1)
    actual = gaussian_w2(mean, 4 * variance, 4 * mean, 36 * variance)
    assert actual.item() == pytest.approx(math.sqrt(3**2 + 4**2))


def test_gaussian_w2_bounds_exact_transport_of_samples_from_below():
    """Gelbrich: no two distributions of these means and covariances are closer."""
    x, y = normal(0, 40, 3), normal(1, 40, 3) * torch.tensor([1.0, 2, 0.5], dtype=DOUBLE) + 1
    moments = [moment for cloud in (x, y) for moment in (cloud.mean(0), cloud.T.cov(correction=0))]
    assert gaussian_w2(*moments) <= exact_wasserstein(x, y, 2)


def test_gradient_of_gaussian_w2_is_right_even_for_round_covariances():
    def distance(mean_x, factor_x, mean_y, factor_y):
        moments = mean_x, factor_x @ factor_x.mT, mean_y, factor_y @ factor_y.mT
        return gaussian_w2_squared(*moments), gaussian_w2(*moments)

    unit = torch.eye(3, dtype=DOUBLE)
    batch = normal(0, 2, 3), normal(1, 2, 3, 3) + unit
    assert gradcheck(distance, tracked(*batch, normal(2, 3), normal(3, 3, 3)))
    assert gradcheck(distance, tracked(normal(0, 3), unit, normal(1, 3), 2 * unit))
    mean, cov = tracked(torch.zeros(3, dtype=DOUBLE), unit)
    gaussian_w2(mean, cov, mean.detach(), cov.detach()).backward()
    assert torch.equal(mean.grad, torch.zeros(3, dtype=DOUBLE))
    assert cov.grad.isfinite().all()


@both_dtypes
def test_singular_covariances_are_allowed(dtype):
    flat, point = torch.diag(torch.tensor([4.0, 0], dtype=dtype)), torch.zeros(2, 2, dtype=dtype)
    mean = torch.zeros(2, dtype=dtype)
    assert gaussian_w2(mean, flat, mean, point).item() == pytest.approx(2)
    assert gaussian_w2(mean, flat, mean, flat.flip(0, 1)).item() == pytest.approx(math.sqrt(8))


def test_gaussians_refuse_what_is_no_covariance():
    mean, unit = torch.zeros(2), torch.eye(2)
    with pytest.raises(ValueError, match="cov_y must be symmetric"):
        gaussian_w2_squared(mean, unit, mean, torch.tensor([[1.0, 2], [0, 1]]))
    with pytest.raises(ValueError, match="cov_x must have no negative eigenvalue"):
        gaussian_w2_squared(mean, -unit, mean, unit)
    with pytest.raises(ValueError, match=r"cov_x must be \(\.\.\., 2, 2\)"):
        gaussian_w2_squared(mean, torch.eye(3), mean, unit)
    with pytest.raises(ValueError, match="mean_x has dimension 2, mean_y 3"):
        gaussian_w2_squared(mean, unit, torch.zeros(3), torch.eye(3))
    with pytest.raises(ValueError, match=r"torch.float64.*the same"):
        gaussian_w2_squared(mean, unit.double(), mean, unit)


# --- exact discrete ----------------------------------------------------------------------------------------


@few
@given(seed=seeds, n=sizes, p=orders)
def test_exact_of_equal_sizes_is_an_assignment(seed, n, p):
    x, y = normal(seed, n, 3), normal(seed + 1, n, 3)
    costs = (torch.cdist(x, y) ** p).numpy()
    cost = costs[scipy.optimize.linear_sum_assignment(costs)].mean()
    assert exact_wasserstein(x, y, p).item() == pytest.approx(cost ** (1 / p), rel=1e-9)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_exact_with_weights_is_the_linear_program(seed, n, m, p):
    x, y, a, b = normal(seed, n, 2), normal(seed + 1, m, 2), masses(seed, n), masses(seed + 2, m)
    marginals = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    costs = (torch.cdist(x, y) ** p).numpy().ravel()
    program = scipy.optimize.linprog(costs, A_eq=marginals, b_eq=np.concatenate([simplex(a), simplex(b)]))
    assert exact_wasserstein(x, y, p, a, b).item() == pytest.approx(program.fun ** (1 / p), rel=1e-7)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_exact_on_the_line_is_the_one_through_quantiles(seed, n, m, p):
    x, y, a, b = normal(seed, n), normal(seed + 1, m), masses(seed, n), masses(seed + 2, m)
    exact = exact_wasserstein(x.unsqueeze(-1), y.unsqueeze(-1), p, a, b)
    torch.testing.assert_close(exact, wasserstein_1d(x, y, p, a, b))


@both_dtypes
def test_a_shift_is_as_far_as_it_is_long_in_w1_of_any_dimension(dtype):
    x = normal(0, 30, 64).to(dtype)
    assert exact_wasserstein(x, x + 0.5).item() == pytest.approx(0.5 * math.sqrt(64), rel=1e-5)


def test_an_unfinished_simplex_is_an_error(monkeypatch):
    monkeypatch.setattr(discrete, "SIMPLEX_ITERATIONS", 3)
    with pytest.raises(RuntimeError, match="exact solver did not finish"):
        exact_wasserstein(normal(0, 50, 2), normal(1, 50, 2))


# --- entropic: known answers -------------------------------------------------------------------------------

five = torch.stack([torch.arange(5.0), torch.zeros(5)], dim=-1)
up = torch.tensor([0.0, 1.0])
along = torch.tensor([1.0, 0.0])


def moons(dtype: torch.dtype = DOUBLE) -> tuple[Tensor, Tensor]:
    """The two arcs of scikit-learn's make_moons(n_samples=30), written out: 15 points each."""
    angle = torch.linspace(0, math.pi, 15, dtype=DOUBLE)
    upper = torch.stack([angle.cos(), angle.sin()], dim=-1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], dim=-1)
    return upper.to(dtype), lower.to(dtype)


@both_dtypes
@pytest.mark.parametrize(("epsilon", "cost"), [(0.1, 1.000), (1, 1.408)])
def test_five_points_shifted_by_one(dtype, epsilon, cost):
    result = sinkhorn(five.to(dtype), (five + up).to(dtype), epsilon)
    assert result.cost.item() == pytest.approx(cost, abs=5e-4)
    assert result.converged
    assert result.cost_matrix[0].tolist() == pytest.approx([1, 2, 5, 10, 17])


@pytest.mark.parametrize("direction", [up, along])
def test_shifts_of_one_to_four_in_one_batch(direction):
    y = torch.stack([five + shift * direction for shift in (1, 2, 3, 4)])
    result = sinkhorn(five, y, 0.1)
    expected = torch.tensor([1.0001, 4.0001, 9.0000, 16.0000])
    torch.testing.assert_close(result.cost, expected, rtol=0, atol=1e-4)
    assert result.plan.shape == result.cost_matrix.shape == (4, 5, 5)
    assert result.marginal_error.shape == result.converged.shape == (4,)
    assert result.converged.all()


@both_dtypes
def test_moons(dtype):
    upper, lower = moons(dtype)
    result = sinkhorn(upper, lower, 0.1)
    assert result.cost.item() == pytest.approx(1.7968, abs=5e-5)
    assert result.converged
    assert exact_wasserstein(upper, lower, 2).item() ** 2 == pytest.approx(1.7460, abs=5e-5)


def test_the_moons_cost_going_round_is_below_the_optimum_because_its_plan_is_none():
    """1.714 comes of stopping once the potentials move by less than 0.1: 3 % of the mass is misplaced."""
    upper, lower = moons()
    cost, epsilon, mass = torch.cdist(upper, lower) ** 2, 0.1, math.log(1 / 15)
    f = g = torch.zeros(15, dtype=DOUBLE)
    for _ in range(100):
        before = f
        f = epsilon * (mass - ((g - cost) / epsilon).logsumexp(1))
        g = epsilon * (mass - ((f.unsqueeze(1) - cost) / epsilon).logsumexp(0))
        if (f - before).abs().sum() < 0.1:
            break
    plan = ((f.unsqueeze(1) + g - cost) / epsilon).exp()
    early = (plan * cost).sum().item()
    assert early == pytest.approx(1.714, abs=5e-4)
    assert early < exact_wasserstein(upper, lower, 2).item() ** 2
    assert (plan.sum(1) - 1 / 15).abs().sum() > 0.05
    result = sinkhorn(upper, lower, epsilon)
    assert (result.plan.sum(1) - 1 / 15).abs().sum() < 1e-5
    assert result.cost > exact_wasserstein(upper, lower, 2) ** 2


# --- entropic: laws ----------------------------------------------------------------------------------------


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders, epsilon=st.sampled_from([0.05, 0.3, 2]))
def test_sinkhorn_agrees_with_pot(seed, n, m, p, epsilon):
    x, y, a, b = normal(seed, n, 2), normal(seed + 1, m, 2), masses(seed, n), masses(seed + 2, m)
    cost = (torch.cdist(x, y) ** p).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.sinkhorn(
            simplex(a), simplex(b), cost, epsilon, "sinkhorn_log", numItermax=20_000, stopThr=1e-8, log=True
        )
    result = sinkhorn(x, y, epsilon, p, a, b, tolerance=1e-9)
    assert result.converged
    if log["err"][-1] < 1e-8:  # POT is slow where parts of the clouds hardly exchange mass
        np.testing.assert_allclose(result.plan.numpy(), plan, atol=1e-5)
        assert result.cost.item() == pytest.approx((plan * cost).sum(), rel=1e-4)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders, relative=st.sampled_from([1e-4, 1e-2, 1, 100]))
def test_plan_has_its_marginals_and_its_cost(seed, n, m, p, relative):
    x, y, a, b = normal(seed, n, 2), normal(seed + 1, m, 2) + 3, masses(seed, n), masses(seed + 2, m)
    epsilon = relative * (torch.cdist(x, y) ** p).mean().item()
    result = sinkhorn(x, y, epsilon, p, a, b, tolerance=1e-8)
    assert (result.plan >= 0).all()
    rows, columns = result.plan.sum(1) - a / a.sum(), result.plan.sum(0) - b / b.sum()
    error = rows.abs().sum() + columns.abs().sum()
    assert result.converged
    assert error <= 1e-8
    assert result.marginal_error.item() == pytest.approx(error.item(), abs=1e-14)
    torch.testing.assert_close(result.cost_matrix, torch.cdist(x, y) ** p)
    torch.testing.assert_close(result.cost, (result.plan * result.cost_matrix).sum())


@both_dtypes
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("relative", [1e-4, 1e-3, 1e-2])
def test_small_epsilon_converges_to_exact_transport(dtype, p, relative):
    """⟨P, C⟩ exceeds the optimum by epsilon · log n at most."""
    x, y = normal(0, 60, 2).to(dtype), (normal(1, 80, 2) * 0.5 + 1).to(dtype)
    epsilon = relative * (torch.cdist(x, y) ** p).mean().item()
    result = sinkhorn(x, y, epsilon, p)
    exact = exact_wasserstein(x, y, p).item() ** p
    assert result.converged
    slack = 1e-5 * result.cost_matrix.max().item()
    assert -slack <= result.cost.item() - exact <= epsilon * math.log(60) + slack


def test_large_epsilon_couples_everything_with_everything():
    x, y, a, b = normal(0, 5, 2), normal(1, 7, 2), masses(0, 5), masses(1, 7)
    product = torch.outer(a / a.sum(), b / b.sum())
    torch.testing.assert_close(sinkhorn(x, y, 1e6, 2, a, b).plan, product, rtol=1e-4, atol=0)


def test_cost_grows_with_epsilon():
    x, y = normal(0, 10, 2), normal(1, 12, 2)
    costs = [sinkhorn(x, y, epsilon, tolerance=1e-10).cost.item() for epsilon in (0.01, 0.1, 1, 10, 100)]
    assert costs == sorted(costs)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_sinkhorn_is_symmetric_blind_to_order_and_translation_and_scales(seed, n, m, p):
    x, y = normal(seed, n, 2), normal(seed + 1, m, 2)
    result = sinkhorn(x, y, 0.2, p, tolerance=1e-11)
    cost, same = result.cost, {"rtol": 1e-8, "atol": 1e-12}
    back = sinkhorn(y, x, 0.2, p, tolerance=1e-11)
    torch.testing.assert_close(back.cost, cost, **same)
    torch.testing.assert_close(back.plan.mT, result.plan, rtol=1e-6, atol=1e-9)
    permuted = sinkhorn(shuffled(seed, x, 0), shuffled(seed + 1, y, 0), 0.2, p, tolerance=1e-11)
    torch.testing.assert_close(permuted.cost, cost, **same)
    torch.testing.assert_close(sinkhorn(x + 7, y + 7, 0.2, p, tolerance=1e-11).cost, cost, **same)
    scaled = sinkhorn(3 * x, 3 * y, 0.2 * 3**p, p, tolerance=1e-11)
    torch.testing.assert_close(scaled.cost, cost * 3**p, **same)


def test_a_batch_is_its_problems_and_a_batch_of_one_is_one():
    x, scales = normal(0, 2, 3, 6, 2), torch.tensor([1, 10, 0.1], dtype=DOUBLE)
    y = normal(1, 3, 4, 2) * scales.view(3, 1, 1)
    a = masses(0, 3, 6)
    result = sinkhorn(x, y, 0.1, x_weights=a, tolerance=1e-10)
    assert result.plan.shape == (2, 3, 6, 4)
    for i in range(2):
        for j in range(3):
            one = sinkhorn(x[i, j], y[j], 0.1, x_weights=a[j], tolerance=1e-10)
            assert one.cost.shape == one.converged.shape == ()
            torch.testing.assert_close(result.cost[i, j], one.cost, rtol=1e-7, atol=0)
            torch.testing.assert_close(result.plan[i, j], one.plan, rtol=1e-5, atol=1e-9)
    single = sinkhorn(x[0, :1], y[0], 0.1)
    assert single.cost.shape == (1,)
    assert single.plan.shape == (1, 6, 4)
    torch.testing.assert_close(single.cost[0], sinkhorn(x[0, 0], y[0], 0.1).cost)


def test_reductions():
    x, y = normal(0, 3, 6, 2), normal(1, 3, 4, 2)
    costs = sinkhorn(x, y, 0.5).cost
    assert costs.shape == (3,)
    torch.testing.assert_close(sinkhorn(x, y, 0.5, reduction="mean").cost, costs.mean())
    torch.testing.assert_close(sinkhorn(x, y, 0.5, reduction="sum").cost, costs.sum())
    with pytest.raises(ValueError, match="reduction must be none, mean or sum, got 'max'"):
        sinkhorn(x, y, 0.5, reduction="max")


@both_dtypes
def test_points_without_mass_do_not_count(dtype):
    x, y, a = normal(0, 6, 2).to(dtype), normal(1, 7, 2).to(dtype), masses(0, 6).to(dtype)
    a[2], b = 0, torch.tensor([1.0, 0, 0, 2, 1, 0, 1], dtype=dtype)
    with_them = sinkhorn(x, y, 0.05, 2, a, b)
    without = sinkhorn(x[a > 0], y[b > 0], 0.05, 2, a[a > 0], b[b > 0])
    assert with_them.converged
    assert with_them.iterations < 2 * without.iterations
    assert (with_them.plan[2] == 0).all()
    torch.testing.assert_close(with_them.cost, without.cost, rtol=1e-4, atol=0)
    torch.testing.assert_close(with_them.plan[a > 0][:, b > 0], without.plan, rtol=0, atol=1e-4)


def test_a_single_point_has_a_single_plan():
    x, y = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    assert sinkhorn(x, y, 0.1).cost.item() == pytest.approx(25)
    assert sinkhorn(x, y, 0.1, 1).cost.item() == pytest.approx(5)
    assert sinkhorn(x, torch.zeros(3, 2), 0.1, 1).cost.item() == pytest.approx(5)


@pytest.mark.parametrize("max_iterations", [1, 2, 7, 30])
def test_it_says_when_it_has_not_converged(max_iterations):
    x, y = normal(0, 30, 2), normal(1, 30, 2) + 2
    with pytest.warns(RuntimeWarning, match=f"not converged: after {max_iterations} iterations") as caught:
        result = sinkhorn(x, y, 1e-3, max_iterations=max_iterations)
    assert caught[0].filename == __file__
    assert result.iterations == max_iterations
    assert not result.converged
    assert result.marginal_error > 1e-5
    assert result.plan.isfinite().all()


@pytest.mark.filterwarnings("ignore:.*not converged")
@pytest.mark.parametrize("max_iterations", [1, 20, 60, 300])
@pytest.mark.parametrize("relative", [1e-6, 1e-4])
def test_cut_short_at_a_tiny_epsilon_it_is_still_a_coupling_of_sorts(relative, max_iterations):
    """The factors escape float32 here: it falls back on the log domain, and columns stay exact."""
    x, y, a = normal(0, 12, 2).float(), 5 * normal(1, 9, 2).float(), masses(0, 12).float() ** 8
    x[::3] += 30
    epsilon = relative * (torch.cdist(x, y) ** 2).mean().item()
    result = sinkhorn(x, y, epsilon, x_weights=a, max_iterations=max_iterations)
    torch.testing.assert_close(result.plan.sum(0), torch.full((9,), 1 / 9), rtol=0, atol=1e-2)
    assert result.marginal_error < 2


def test_in_a_batch_each_problem_says_for_itself_whether_it_converged():
    x, y = normal(0, 2, 30, 2), normal(1, 2, 30, 2)
    y[0] = x[0, :1]  # all mass to one point: any plan with the marginals is the product
    with pytest.warns(RuntimeWarning, match="not converged"):
        result = sinkhorn(x, y, 1e-3, max_iterations=20)
    assert result.converged.tolist() == [True, False]


@both_dtypes
def test_clouds_that_hardly_exchange_mass_converge_too(dtype):
    """Plain Sinkhorn needs more than 10,000 iterations: the five points' potentials must slide apart."""
    result = sinkhorn(five.to(dtype), (five + 3 * along).to(dtype), 0.1)
    assert result.converged
    assert result.iterations < 500


# --- entropic: gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 1.5, 2])
@pytest.mark.parametrize("epsilon", [0.05, 1])
def test_gradients_of_cost_and_plan_are_right_in_points_and_weights(p, epsilon):
    def solve(x, y, a, b):
        result = sinkhorn(x, y, epsilon, p, a, b, tolerance=1e-13)
        return result.cost, result.plan

    inputs = tracked(normal(0, 2, 4, 2), normal(1, 5, 2) + 1, masses(0, 4), masses(1, 2, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 1e-13 may be just below rounding
        assert gradcheck(solve, inputs, atol=1e-5, rtol=1e-4)


def test_the_gradient_is_not_merely_the_plan():
    """At an epsilon that matters the plan moves with the points, which the envelope theorem leaves out."""
    x, y = tracked(normal(0, 5, 2), normal(1, 5, 2))
    result = sinkhorn(x, y, 1.0, tolerance=1e-12)
    (whole,) = torch.autograd.grad(result.cost, x, retain_graph=True)
    (envelope,) = torch.autograd.grad((result.plan.detach() * result.cost_matrix).sum(), x)
    assert (whole - envelope).norm() > 0.1 * whole.norm()


@both_dtypes
@pytest.mark.parametrize("p", [1, 2])
def test_gradient_is_finite_where_points_coincide(dtype, p):
    (x,) = tracked(normal(0, 6, 2).to(dtype))
    sinkhorn(x, x.detach(), 0.1, p).cost.backward()
    assert x.grad.isfinite().all()
    (x,) = tracked(normal(0, 6, 2).to(dtype))
    sinkhorn_divergence(x, x.detach(), 0.1, p).backward()
    torch.testing.assert_close(x.grad, torch.zeros_like(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", [17, 61, 130])
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 2e-3), (DOUBLE, 3e-4)])
def test_gradient_between_equal_clouds_is_small_though_its_system_is_singular(seed, dtype, relative):
    """Plans near the identity leave conjugate gradients nothing but rounding, which must not be amplified."""
    (x,) = tracked(torch.randn(12, 2, generator=torch.Generator().manual_seed(seed)).to(dtype))
    epsilon = relative * (torch.cdist(x, x) ** 2).mean().item()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    sinkhorn(x, x.detach(), epsilon, tolerance=tolerance).cost.backward()
    assert x.grad.norm() < 0.02


@pytest.mark.parametrize("relative", [1e-3, 1e-2, 0.1])
def test_float32_gradients_agree_with_float64(relative):
    x, y = normal(0, 40, 2), normal(1, 50, 2) + 1
    epsilon = relative * (torch.cdist(x, y) ** 2).mean().item()
    gradients = []
    for dtype, tolerance in ((torch.float32, 1e-6), (DOUBLE, 1e-10)):
        (cloud,) = tracked(x.to(dtype))
        sinkhorn(cloud, y.to(dtype), epsilon, tolerance=tolerance).cost.backward()
        gradients.append(cloud.grad.double())
    assert (gradients[0] - gradients[1]).norm() < 0.02 * gradients[1].norm()


def test_gradient_of_a_shift_at_small_epsilon_is_the_shift():
    """Points far from one another move with their partners, so the gradient of ‖t‖² is -2t/n at each."""
    (x,) = tracked(five.double() * 3)
    sinkhorn(x, x.detach() + 4, 0.1, tolerance=1e-10).cost.backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, -2 * 4 / 5))


# --- debiased ----------------------------------------------------------------------------------------------


@few
@given(seed=seeds, n=sizes, m=sizes, p=st.sampled_from([1, 1.5, 2]), epsilon=st.sampled_from([1, 10]))
def test_divergence_agrees_with_pot(seed, n, m, p, epsilon):
    x, y, a, b = normal(seed, n, 2), normal(seed + 1, m, 2) + 1, masses(seed, n), masses(seed + 2, m)

    def regularised(x, y, a, b):
        cost = (torch.cdist(x, y) ** p).numpy()
        arguments = {"reg": epsilon, "reg_type": "KL", "max_iter": 5_000, "tol": 1e-8}
        return ot.solve(cost, a=simplex(a), b=simplex(b), **arguments).value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = regularised(x, y, a, b) - (regularised(x, x, a, a) + regularised(y, y, b, b)) / 2
    actual = sinkhorn_divergence(x, y, epsilon, p, a, b, tolerance=1e-9)
    assert actual.item() == pytest.approx(expected, abs=1e-5)


@both_dtypes
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1, 10])
def test_divergence_is_zero_between_equal_clouds_and_positive_between_others(dtype, p, epsilon):
    x = normal(0, 3, 20, 2).to(dtype)
    assert torch.equal(sinkhorn_divergence(x, x, epsilon, p), torch.zeros(3, dtype=dtype))
    reordered = sinkhorn_divergence(x, shuffled(0, x, 1), epsilon, p)
    assert (reordered >= 0).all()
    assert (reordered < 1e-4).all()
    assert (sinkhorn_divergence(x, x + 0.3, epsilon, p) > 1e-3).all()


@both_dtypes
@pytest.mark.parametrize("epsilon", [0.1, 1, 10])
def test_divergence_of_a_shift_is_its_square_at_any_epsilon(dtype, epsilon):
    x, shift = normal(0, 20, 2).to(dtype), torch.tensor([1.0, 2.0], dtype=dtype)
    assert sinkhorn_divergence(x, x + shift, epsilon).item() == pytest.approx(5, abs=1e-4)


def test_divergence_lies_between_transport_and_energy_distance():
    x, y = normal(0, 20, 1), normal(1, 30, 1) * 2 + 1
    nearly_exact = sinkhorn_divergence(x, y, 1e-3, 1).item()
    assert nearly_exact == pytest.approx(wasserstein_1d(x[:, 0], y[:, 0]).item(), abs=5e-3)
    energy = scipy.stats.energy_distance(x[:, 0], y[:, 0]) ** 2 / 2
    assert sinkhorn_divergence(x, y, 1e4, 1).item() == pytest.approx(energy, rel=1e-3)


@pytest.mark.parametrize("p", [1, 2])
def test_gradient_of_divergence_is_right(p):
    def divergence(x, y, a, b):
        return sinkhorn_divergence(x, y, 0.3, p, a, b, tolerance=1e-11)

    assert gradcheck(divergence, tracked(normal(0, 2, 4, 2), normal(1, 5, 2) + 1, masses(0, 4), masses(1, 5)))


def test_divergence_warns_too():
    with pytest.warns(RuntimeWarning, match="sinkhorn_divergence has not converged") as caught:
        sinkhorn_divergence(normal(0, 30, 2), normal(1, 30, 2), 1e-3, max_iterations=3)
    assert caught[0].filename == __file__


# --- refusals ----------------------------------------------------------------------------------------------

CLOUD_FUNCTIONS = {
    "exact": exact_wasserstein,
    "sinkhorn": lambda x, y, **options: sinkhorn(x, y, 0.1, **options),
    "divergence": lambda x, y, **options: sinkhorn_divergence(x, y, 0.1, **options),
    "sliced": sliced_wasserstein,
    "1d": lambda x, y, **options: wasserstein_1d(x[..., 0], y[..., 0], **options),
}
every_function = pytest.mark.parametrize("function", CLOUD_FUNCTIONS.values(), ids=CLOUD_FUNCTIONS)


@every_function
def test_bad_clouds_and_weights_are_named(function):
    x, y = torch.zeros(4, 2), torch.zeros(5, 2)
    y_nan = y.clone()
    y_nan[3] = math.nan
    refused = {
        "x must be finite": ((x / 0, y), {}),
        "y must be finite": ((x, y_nan), {}),
        "y is empty": ((x, y[:0]), {}),
        "x is torch.float32 on cpu, y torch.float64": ((x, y.double()), {}),
        "x must be a float32 or float64 tensor, got torch.int64": ((x.long(), y.long()), {}),
        "y must be a float32 or float64 tensor, got torch.bfloat16": ((x, y.bfloat16()), {}),
        r"batches \(2,\) and \(3,\)": ((x.expand(2, 4, 2), y.expand(3, 5, 2)), {}),
        "p must be a finite number of at least 1, got 0.5": ((x, y), {"p": 0.5}),
        "p must be a finite number of at least 1, got nan": ((x, y), {"p": math.nan}),
        "p must be a finite number of at least 1, got inf": ((x, y), {"p": math.inf}),
        r"x_weights must have shape \(\.\.\., 4\), as x has 4 points, got \(5,\)": (
            (x, y),
            {"x_weights": torch.ones(5)},
        ),
        r"y_weights must have shape \(\.\.\., 5\)": ((x, y), {"y_weights": torch.ones(2, 1)}),
        r"y_weights and clouds .* \(3,\)": ((x.expand(2, 4, 2), y), {"y_weights": torch.ones(3, 5)}),
        "x_weights must not be negative": ((x, y), {"x_weights": torch.tensor([1.0, 2, -1, 1])}),
        "y_weights must have a positive, finite sum": ((x, y), {"y_weights": torch.zeros(5)}),
        "y_weights must be finite": ((x, y), {"y_weights": torch.full((5,), math.inf)}),
        "x_weights torch.float64": ((x, y), {"x_weights": torch.ones(4, dtype=DOUBLE)}),
    }
    for message, (clouds, options) in refused.items():
        with pytest.raises(ValueError, match=message) as raised:
            function(*clouds, **options)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["exact", "sinkhorn", "divergence", "sliced"])
def test_clouds_need_a_dimension_and_the_same(name):
    function = CLOUD_FUNCTIONS[name]
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., n, D\), got \(4,\)"):
        function(torch.zeros(4), torch.zeros(4))
    with pytest.raises(ValueError, match="x has points of dimension 2, y of 3"):
        function(torch.zeros(4, 2), torch.zeros(4, 3))


@pytest.mark.parametrize("solve", [sinkhorn, sinkhorn_divergence])
@pytest.mark.parametrize("epsilon", [0, -1.0, math.nan, math.inf])
def test_epsilon_must_be_positive_and_finite(solve, epsilon):
    with pytest.raises(ValueError, match="epsilon must be positive and finite"):
        solve(five, five + up, epsilon)


@pytest.mark.parametrize("solve", [sinkhorn, sinkhorn_divergence])
def test_solver_settings_that_make_no_sense_are_refused(solve):
    with pytest.raises(ValueError, match="max_iterations must be at least 1"):
        solve(five, five, 0.1, max_iterations=0)
    with pytest.raises(ValueError, match="tolerance must be positive"):
        solve(five, five, 0.1, tolerance=0)
    with pytest.raises(ValueError, match=r"epsilon 1.0e-09 is below what torch.float32 resolves"):
        solve(five, five + up, 1e-9)
    with pytest.raises(ValueError, match=r"distance\^2 overflows torch.float32"):
        solve(five, five * 1e30, 0.1)


def test_projections_must_be_positive():
    with pytest.raises(ValueError, match="projections must be at least 1"):
        sliced_wasserstein(five, five, 0)


# --- memory and devices ------------------------------------------------------------------------------------


def test_what_no_machine_can_hold_is_refused_with_the_bytes_it_needs():
    x = torch.zeros(1, 1).expand(2_000_000, 1)
    with pytest.raises(ValueError, match=r"about 160,000,000,000,000 bytes, and cpu has [\d,]+: take fewer"):
        sinkhorn(x, x, 0.1)
    with pytest.raises(ValueError, match=r"exact_wasserstein .* about 224,000,000,000,000 bytes"):
        exact_wasserstein(x, x)


MEMORY = """
import re, warnings, torch
from pathlib import Path
from wgan_cli.transport import sinkhorn
warnings.simplefilter("ignore")  # thirty iterations do not converge, and take the memory of thirty thousand
generator = torch.Generator().manual_seed(0)
x, y = (torch.randn(4096, 2, generator=generator, requires_grad=True) for _ in "xy")
def peak():  # of this process alone; getrusage would begin with its parent's
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
sinkhorn(x[:9], y[:9], 1.0).cost.backward()
before = peak()
sinkhorn(x, y, 1.0, max_iterations=30, tolerance=1e-9).cost.backward()
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/self/status is Linux's")
def test_4096_by_4096_points_and_their_gradient_fit_in_2_gib():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    matrix = 4096 * 4096 * 4 / 1024
    assert 2 * matrix < int(done.stdout) < 2 * 1024**2
    assert int(done.stdout) < entropic.SINKHORN_MATRICES * matrix * 1.05


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@both_dtypes
def test_a_gpu_gives_what_the_cpu_gives(dtype):
    x, y, a, b = (tensor.to(dtype) for tensor in (normal(0, 2, 6, 3), normal(1, 2, 8, 3), masses(0, 6), masses(1, 8)))
    cov = covariance(0, 3).to(dtype)

    def everything(x, y, a, b, cov):
        return [
            wasserstein_1d(x[..., 0], y[..., 0], 2, a, b),
            wasserstein_1d(x[..., 0], y[..., 0]),
            wasserstein_1d_normal(x[..., 0], 0, 1, 1, a),
            sliced_wasserstein(x, y, 8, 2, torch.Generator().manual_seed(0), a, b),
            gaussian_w2(x[:, 0], cov, y[:, 0], 2 * cov),
            exact_wasserstein(x, y, 1, a, b),
            sinkhorn(x, y, 0.1, 2, a, b).cost,
            sinkhorn_divergence(x, y, 0.1, 2, a, b),
        ]

    (on_cpu,) = tracked(x)
    on_gpu = x.cuda().requires_grad_()
    expected = everything(on_cpu, y, a, b, cov)
    actual = everything(on_gpu, y.cuda(), a.cuda(), b.cuda(), cov.cuda())
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.is_cuda
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-4)
    torch.stack([value.sum() for value in expected]).sum().backward()
    torch.stack([value.sum() for value in actual]).sum().backward()
    torch.testing.assert_close(on_gpu.grad.cpu(), on_cpu.grad, rtol=1e-2, atol=1e-3)
