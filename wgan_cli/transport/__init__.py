"""Optimal transport as pure functions of tensors: the truth that a critic's gap is held against.

Clouds are float32 or float64 tensors on any device, batched over leading dimensions that broadcast. Every
result is differentiable. Weights are masses: they are divided by their sum, and None is uniform. A name says
what it returns: a `wasserstein` is the distance W_p, the p-th root of the cost, and what is squared says so.
Bad input raises a one-line ValueError that names the argument.
"""

from wgan_cli.transport.discrete import exact_plan, exact_wasserstein
from wgan_cli.transport.entropic import SinkhornResult, sinkhorn, sinkhorn_divergence
from wgan_cli.transport.gaussian import gaussian_w2, gaussian_w2_squared
from wgan_cli.transport.line import sliced_wasserstein, wasserstein_1d, wasserstein_1d_normal

__all__ = [
    "SinkhornResult",
    "exact_plan",
    "exact_wasserstein",
    "gaussian_w2",
    "gaussian_w2_squared",
    "sinkhorn",
    "sinkhorn_divergence",
    "sliced_wasserstein",
    "wasserstein_1d",
    "wasserstein_1d_normal",
]
