"""Checks of input, shared by all distances. Bad input raises a one-line ValueError that names the argument.

Nothing here changes a value: the arithmetic is in `costs.py` and in the files of the distances.
"""

import math

import numpy as np
import torch
from torch import Tensor

from wgan_cli.devices import free_memory


def check_order(p: float) -> None:
    """Check that the order p of W_p is finite and at least 1."""
    if not (p >= 1 and math.isfinite(p)):
        raise ValueError(f"p must be a finite number of at least 1, got {p}")


def check_problem(
    x: Tensor, y: Tensor, x_weights: Tensor | None, y_weights: Tensor | None, point_dims: int
) -> torch.Size:
    """Check clouds and weights, and return the batch shape to which all of them broadcast.

    The last `point_dims` dimensions of a cloud belong to no batch: 1 for numbers (..., n), 2 for points (..., n, D).
    """
    batch = check_pair(x, y, point_dims)
    if x_weights is not None:
        check_weights("x_weights", x_weights, "x", x, point_dims)
        batch = check_batches("x_weights and clouds", x_weights.shape[:-1], batch)
    if y_weights is not None:
        check_weights("y_weights", y_weights, "y", y, point_dims)
        batch = check_batches("y_weights and clouds", y_weights.shape[:-1], batch)
    return batch


def check_pair(x: Tensor, y: Tensor, point_dims: int, names: tuple[str, str] = ("x", "y")) -> torch.Size:
    """Check two clouds, and return the batch shape to which both broadcast."""
    check_points(names[0], x, point_dims)
    check_points(names[1], y, point_dims)
    check_alike(names[0], x, names[1], y)
    if point_dims == 2 and x.shape[-1] != y.shape[-1]:
        raise ValueError(f"x has points of dimension {x.shape[-1]}, y of {y.shape[-1]}: they must agree")
    return check_batches(f"{names[0]} and {names[1]}", x.shape[:-point_dims], y.shape[:-point_dims])


def check_points(name: str, x: Tensor, point_dims: int) -> None:
    """Check that x is a finite, non-empty float tensor with at least `point_dims` dimensions."""
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64):
        found = getattr(x, "dtype", type(x).__name__)
        raise ValueError(f"{name} must be a float32 or float64 tensor, got {found}")
    if x.dim() < point_dims:
        wanted = "(..., n)" if point_dims == 1 else "(..., n, D)"
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"{name} is empty: its shape is {tuple(x.shape)}")
    if not x.detach().isfinite().all():
        raise ValueError(f"{name} must be finite, but has infinite or NaN entries")


def check_alike(name_x: str, x: Tensor, name_y: str, y: Tensor) -> None:
    """Check that both tensors have one dtype and one device."""
    if x.dtype != y.dtype or x.device != y.device:
        raise ValueError(
            f"{name_x} is {x.dtype} on {x.device}, {name_y} {y.dtype} on {y.device}: they must be the same"
        )


def check_batches(what: str, x: torch.Size, y: torch.Size) -> torch.Size:
    """Return the shape to which two batch shapes broadcast."""
    try:  # NumPy's rule is torch's, whose own function imports a computer algebra system
        return torch.Size(np.broadcast_shapes(x, y))
    except ValueError:
        raise ValueError(f"{what} have batches {tuple(x)} and {tuple(y)} that don't broadcast") from None


def check_weights(name: str, weights: Tensor, cloud: str, x: Tensor, point_dims: int) -> None:
    """Check the weights of the points of x; `cloud` is the name of x in messages."""
    check_points(name, weights, point_dims=1)
    check_alike(cloud, x, name, weights)
    n, shape = x.shape[-point_dims], tuple(weights.shape)
    if shape[-1] != n:
        raise ValueError(f"{name} must have shape (..., {n}), as {cloud} has {n} points, got {shape}")
    weights = weights.detach()
    if (weights < 0).any():
        raise ValueError(f"{name} must not be negative")
    total = weights.sum(-1)
    if not ((total > 0) & total.isfinite()).all():
        raise ValueError(f"{name} must have a positive, finite sum")


def check_normal(mean: Tensor, std: Tensor, x: Tensor) -> None:
    """Check the parameters of one normal for each sample of the batch of x (..., n)."""
    for name, parameter in (("mean", mean), ("std", std)):
        check_batches(f"{name} and the batch of x", parameter.shape, x.shape[:-1])
        if not parameter.isfinite().all():
            raise ValueError(f"{name} must be finite")
    if not (std > 0).all():
        raise ValueError("std must be positive")


def check_gaussians(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> None:
    """Check the means (..., D) and covariances (..., D, D) of two Gaussians."""
    check_pair(mean_x, mean_y, point_dims=1, names=("mean_x", "mean_y"))
    if mean_x.shape[-1] != mean_y.shape[-1]:
        raise ValueError(f"mean_x has dimension {mean_x.shape[-1]}, mean_y {mean_y.shape[-1]}")
    check_covariance("cov_x", cov_x, mean_x)
    check_covariance("cov_y", cov_y, mean_y)
    check_batches("cov_x and cov_y", cov_x.shape[:-2], cov_y.shape[:-2])


def check_covariance(name: str, cov: Tensor, mean: Tensor) -> None:
    """Check that cov (..., D, D) fits mean (..., D), is symmetric, and has no negative eigenvalue.

    Rounding may leave a small asymmetry or a slightly negative eigenvalue: both pass.
    """
    dimension = mean.shape[-1]
    check_points(name, cov, point_dims=2)
    if cov.shape[-2:] != (dimension, dimension):
        raise ValueError(f"{name} must be (..., {dimension}, {dimension}) for its mean: {tuple(cov.shape)}")
    check_alike("the mean", mean, name, cov)
    check_batches(f"{name} and its mean", cov.shape[:-2], mean.shape[:-1])
    cov = cov.detach()
    slack = 1e3 * torch.finfo(cov.dtype).eps * cov.abs().amax()
    if ((cov - cov.mT).abs() > slack).any():
        raise ValueError(f"{name} must be symmetric")
    if torch.linalg.eigvalsh((cov + cov.mT) / 2).amin() < -slack * dimension:
        raise ValueError(f"{name} must have no negative eigenvalue")


def check_solver(epsilon: float, max_iterations: int, tolerance: float) -> None:
    """Check the settings of the entropic solver."""
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise ValueError(f"epsilon must be positive and finite, got {epsilon}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, got {max_iterations}")
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")


def check_cost_range(cost: Tensor, p: float, epsilon: float) -> None:
    """Check that costs distance^p are finite, and that epsilon is no smaller than their rounding errors."""
    largest, dtype = cost.detach().max().item(), cost.dtype
    if not math.isfinite(largest):
        raise ValueError(f"x and y are so far apart that distance^{p:g} overflows {dtype}: scale them down")
    if epsilon < torch.finfo(dtype).eps * largest:
        raise ValueError(
            f"epsilon {epsilon:.1e} is below what {dtype} resolves of the largest cost, {largest:.1e}: "
            "take a larger one, or exact_wasserstein"
        )


def check_memory(name: str, needed: int, device: torch.device) -> None:
    """Refuse a problem whose `needed` bytes exceed the free memory of the device, and on the CPU the limits of the
    process and its cgroup.

    Without this check, Linux grants the memory and later kills the process without a message.
    """
    free = free_memory(device)
    if needed > free:
        raise ValueError(
            f"{name} of x and y this large needs about {needed:,} bytes, and {device} has {free:,} free: "
            "take fewer points"
        )
