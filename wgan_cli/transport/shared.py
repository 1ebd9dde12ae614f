"""What every distance checks of its input, and how costs become distances."""

import math
import os

import torch
from torch import Tensor


def power_mean(lengths: Tensor, masses: Tensor, p: float) -> Tensor:
    """(Σ masses · lengths^p)^(1/p) over the last dimension; its gradient is zero where every length is.

    Lengths are divided by their largest first, so that no power under- or overflows.
    """
    if p == 1:
        return (masses * lengths).sum(-1)
    largest = lengths.detach().amax(-1)
    largest = torch.where(largest > 0, largest, 1)
    return largest * root((masses * (lengths / largest.unsqueeze(-1)) ** p).sum(-1), p)


def root(total: Tensor, p: float) -> Tensor:
    """total^(1/p); zero with gradient zero where total <= 0, as the root's own gradient there makes NaN."""
    positive = total > 0
    return torch.where(positive, torch.where(positive, total, 1) ** (1 / p), 0)


def masses(weights: Tensor | None, x: Tensor, batch: torch.Size) -> Tensor:
    """The mass of each point, (*batch, n)."""
    n = x.shape[-2]
    return (x.new_full((n,), 1 / n) if weights is None else weights).expand(*batch, n)


def check_order(p: float) -> None:
    if not (p >= 1 and math.isfinite(p)):
        raise ValueError(f"p must be a finite number of at least 1, got {p}")


def check_solver(epsilon: float, max_iterations: int, tolerance: float) -> None:
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise ValueError(f"epsilon must be positive and finite, got {epsilon}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, got {max_iterations}")
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")


def check_points(name: str, x: Tensor, point_dims: int) -> None:
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


def check_pair(x: Tensor, y: Tensor, point_dims: int, names: tuple[str, str] = ("x", "y")) -> torch.Size:
    """The batch that both broadcast to."""
    check_points(names[0], x, point_dims)
    check_points(names[1], y, point_dims)
    check_alike(names[0], x, names[1], y)
    if point_dims == 2 and x.shape[-1] != y.shape[-1]:
        raise ValueError(f"x has points of dimension {x.shape[-1]}, y of {y.shape[-1]}: they must agree")
    return broadcast(f"{names[0]} and {names[1]}", x.shape[:-point_dims], y.shape[:-point_dims])


def check_alike(name_x: str, x: Tensor, name_y: str, y: Tensor) -> None:
    if x.dtype != y.dtype or x.device != y.device:
        raise ValueError(
            f"{name_x} is {x.dtype} on {x.device}, {name_y} {y.dtype} on {y.device}: they must be the same"
        )


def broadcast(what: str, x: torch.Size, y: torch.Size) -> torch.Size:
    try:
        return torch.broadcast_shapes(x, y)
    except RuntimeError:
        raise ValueError(f"{what} have batches {tuple(x)} and {tuple(y)} that don't broadcast") from None


def check_problem(
    x: Tensor, y: Tensor, x_weights: Tensor | None, y_weights: Tensor | None, point_dims: int
) -> tuple[Tensor | None, Tensor | None, torch.Size]:
    """The weights divided by their sums, and the batch that clouds and weights broadcast to."""
    batch = check_pair(x, y, point_dims)
    if x_weights is not None:
        x_weights = check_weights("x_weights", x_weights, "x", x, point_dims)
        batch = broadcast("x_weights and clouds", x_weights.shape[:-1], batch)
    if y_weights is not None:
        y_weights = check_weights("y_weights", y_weights, "y", y, point_dims)
        batch = broadcast("y_weights and clouds", y_weights.shape[:-1], batch)
    return x_weights, y_weights, batch


def check_weights(name: str, weights: Tensor, cloud: str, x: Tensor, point_dims: int) -> Tensor:
    """Weights divided by their sum."""
    check_points(name, weights, point_dims=1)
    check_alike(cloud, x, name, weights)
    n, shape = x.shape[-point_dims], tuple(weights.shape)
    if shape[-1] != n:
        raise ValueError(f"{name} must have shape (..., {n}), as {cloud} has {n} points, got {shape}")
    if (weights < 0).any():
        raise ValueError(f"{name} must not be negative")
    total = weights.sum(-1, keepdim=True)
    if not ((total > 0) & total.isfinite()).all():
        raise ValueError(f"{name} must have a positive, finite sum")
    return weights / total


def check_memory(name: str, needed: int, device: torch.device) -> None:
    """Refuse what the device can't hold: Linux grants the memory, then kills the process without a word."""
    if device.type == "cuda":
        held = torch.cuda.get_device_properties(device).total_memory
    elif hasattr(os, "sysconf"):
        held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        return
    if needed > held:
        raise ValueError(
            f"{name} of x and y this large needs about {needed:,} bytes, and {device} has {held:,}: take fewer points"
        )
