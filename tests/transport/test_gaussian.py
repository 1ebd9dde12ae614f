"""W2 between Gaussians: known answers, agreement with SciPy and POT, laws, and gradients."""

import math

import numpy as np
import ot
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from tests.transport.helpers import DOUBLE, both_dtypes, covariance, few, normal, seeds, tracked
from wgan_cli.transport import exact_wasserstein, gaussian_w2, gaussian_w2_squared


def test_norms_in_the_formula_are_squared():
    """A common wrong formula has ‖μx − μy‖ and ‖Σx^½ − Σy^½‖ without squares: 5 and 1 · √2 here."""
    zero, shift = torch.zeros(2, dtype=DOUBLE), torch.tensor([3.0, 4], dtype=DOUBLE)
    unit = torch.eye(2, dtype=DOUBLE)
    assert gaussian_w2_squared(zero, unit, shift, unit).item() == pytest.approx(25)
    assert gaussian_w2(zero, unit, shift, unit).item() == pytest.approx(5)
    assert gaussian_w2_squared(zero, unit, zero, 9 * unit).item() == pytest.approx(2 * (3 - 1) ** 2)
    assert gaussian_w2_squared(zero, unit, shift, 9 * unit).item() == pytest.approx(25 + 8)


@few
@given(seed=seeds, dimension=st.integers(1, 6))
def test_agrees_with_scipy_and_pot(seed, dimension):
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
def test_symmetry_triangle_inequality_and_scaling(seed, dimension, scale):
    gaussians = [(normal(seed + i, dimension), covariance(seed + i, dimension)) for i in range(3)]
    x, y, z = gaussians
    assert gaussian_w2(*x, *y).item() == pytest.approx(gaussian_w2(*y, *x).item(), rel=1e-9)
    assert gaussian_w2(*x, *z) <= gaussian_w2(*x, *y) + gaussian_w2(*y, *z) + 1e-9
    assert gaussian_w2_squared(*x, *x).item() == pytest.approx(0, abs=1e-10)
    scaled = [(mean * scale + 1, cov * scale**2) for mean, cov in (x, y)]
    expected = scale * gaussian_w2(*x, *y).item()
    assert gaussian_w2(*scaled[0], *scaled[1]).item() == pytest.approx(expected, rel=1e-9)


def test_w2_in_one_dimension_is_the_euclidean_distance_of_mean_and_std():
    mean, variance = torch.ones(1), torch.ones(1, 1)
    actual = gaussian_w2(mean, 4 * variance, 4 * mean, 36 * variance)
    assert actual.item() == pytest.approx(math.sqrt(3**2 + 4**2))


def test_w2_of_moments_is_a_lower_bound_of_exact_transport():
    """Gelbrich: Gaussians have the smallest W2 of all distributions with these means and covariances."""
    x, y = normal(0, 40, 3), normal(1, 40, 3) * torch.tensor([1.0, 2, 0.5], dtype=DOUBLE) + 1
    moments = [moment for cloud in (x, y) for moment in (cloud.mean(0), cloud.T.cov(correction=0))]
    assert gaussian_w2(*moments) <= exact_wasserstein(x, y, 2)


def test_gradient_matches_finite_differences_for_equal_eigenvalues_too():
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
