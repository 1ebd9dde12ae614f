"""Checks of input: bad input raises a one-line ValueError that names the argument."""

import math

import pytest
import torch

from tests.transport.helpers import DOUBLE, FIVE, UP
from wgan_cli.transport import (
    exact_plan,
    exact_wasserstein,
    gaussian_w2_squared,
    sinkhorn,
    sinkhorn_divergence,
    sliced_wasserstein,
    wasserstein_1d,
    wasserstein_1d_normal,
)

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
def test_points_must_have_a_dimension_and_the_same_in_both_clouds(name):
    function = CLOUD_FUNCTIONS[name]
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., n, D\), got \(4,\)"):
        function(torch.zeros(4), torch.zeros(4))
    with pytest.raises(ValueError, match="x has points of dimension 2, y of 3"):
        function(torch.zeros(4, 2), torch.zeros(4, 3))


def test_clouds_of_one_plan_must_not_be_batches():
    with pytest.raises(ValueError, match="x and y must be one problem"):
        exact_plan(torch.zeros(3, 4, 2), torch.zeros(4, 2))


def test_bad_parameters_of_a_normal_are_named():
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


def test_bad_covariances_are_named():
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


@pytest.mark.parametrize("function", [sinkhorn, sinkhorn_divergence])
@pytest.mark.parametrize("epsilon", [0, -1.0, math.nan, math.inf])
def test_epsilon_must_be_positive_and_finite(function, epsilon):
    with pytest.raises(ValueError, match="epsilon must be positive and finite"):
        function(FIVE, FIVE + UP, epsilon)


@pytest.mark.parametrize("function", [sinkhorn, sinkhorn_divergence])
def test_bad_solver_settings_are_named(function):
    with pytest.raises(ValueError, match="max_iterations must be at least 1"):
        function(FIVE, FIVE, 0.1, max_iterations=0)
    with pytest.raises(ValueError, match="tolerance must be positive"):
        function(FIVE, FIVE, 0.1, tolerance=0)
    with pytest.raises(ValueError, match=r"epsilon 1.0e-09 is below what torch.float32 resolves"):
        function(FIVE, FIVE + UP, 1e-9)
    with pytest.raises(ValueError, match=r"distance\^2 overflows torch.float32"):
        function(FIVE, FIVE * 1e30, 0.1)


def test_projections_must_be_positive():
    with pytest.raises(ValueError, match="projections must be at least 1"):
        sliced_wasserstein(FIVE, FIVE, 0)


def test_problem_larger_than_the_memory_is_refused_with_the_bytes_it_needs():
    x = torch.zeros(1, 1).expand(2_000_000, 1)
    with pytest.raises(ValueError, match=r"about 160,000,000,000,000 bytes, and cpu has [\d,]+ free: take fewer"):
        sinkhorn(x, x, 0.1)
    with pytest.raises(ValueError, match=r"exact_wasserstein .* about 224,000,000,000,000 bytes"):
        exact_wasserstein(x, x)
