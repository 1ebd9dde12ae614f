"""Optimal transport as pure functions of tensors: distances between samples, computed without any critic.

Clouds of points are float32 or float64 tensors on any device, and batches are leading dimensions that broadcast.
Every result is differentiable, except those of `exact_plan` and `dual_potentials`. Weights are masses: they are divided
by their sum, and None means equal weights. Functions with `wasserstein` or `w2` in their name return the distance W_p,
the p-th root of the cost; those with `squared` return the squared distance. Bad input raises a one-line ValueError with
the argument's name.
"""

from wgan_cli.transport.discrete import dual_potentials, exact_plan, exact_wasserstein
from wgan_cli.transport.gaussian import gaussian_w2, gaussian_w2_squared
from wgan_cli.transport.line import sliced_wasserstein, wasserstein_1d, wasserstein_1d_normal
from wgan_cli.transport.sinkhorn import SinkhornResult, sinkhorn, sinkhorn_divergence
from wgan_cli.transport.upper_bound import UpperBound, upper_bound

__all__ = [
    "SinkhornResult",
    "UpperBound",
    "dual_potentials",
    "exact_plan",
    "exact_wasserstein",
    "gaussian_w2",
    "gaussian_w2_squared",
    "sinkhorn",
    "sinkhorn_divergence",
    "sliced_wasserstein",
    "upper_bound",
    "wasserstein_1d",
    "wasserstein_1d_normal",
]
