"""Arithmetic shared by the distances: between points, the masses of points, and from a mean cost to a distance."""

import torch
from torch import Tensor

PIECE = 1 << 24
"""Distances that are in memory at once, where only some of them are needed together."""


def distances(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i − y_j‖ for x (..., n, D) and y (..., m, D): (..., n, m).

    By differences: for near points, ‖x‖² + ‖y‖² − 2xy gives only rounding errors. Where points coincide, the gradient
    is zero.
    """
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


LONG = 64
"""Points of so many values or more are worth a product of matrices."""


def quick_distances(x: Tensor, y: Tensor) -> Tensor:
    """`distances`, for long points (n, D) and (m, D) on the CPU without a gradient: many times as fast, by
    ‖x‖² + ‖y‖² − 2xy in float64, with a relative error below 1e-7, and by differences where points are too near."""
    is_plain = x.ndim == y.ndim == 2 and x.device.type == "cpu" and not (x.requires_grad or y.requires_grad)
    if not is_plain or x.shape[1] < LONG:
        return distances(x, y)
    exact = x.double(), y.double()
    centre = (exact[0].mean(0) + exact[1].mean(0)) / 2
    x_centred, y_centred = (points - centre for points in exact)
    squares = [points.square().sum(1) for points in (x_centred, y_centred)]
    squared = torch.addmm(squares[0][:, None] + squares[1], x_centred, y_centred.T, alpha=-2)
    near = squared <= 1e-8 * max(square.max() for square in squares)
    count = int(near.sum())
    if not squared.isfinite().all() or count > PIECE // x.shape[1]:
        return distances(x, y)
    rows, columns = near.nonzero(as_tuple=True)
    squared[near] = (x_centred[rows] - y_centred[columns]).square().sum(1)
    return squared.sqrt_().to(x.dtype)


def in_pieces(points: Tensor, others: int) -> tuple[Tensor, ...]:
    """Points (N, ...) in parts with `PIECE` distances to so many other points, or fewer."""
    return points.split(max(1, PIECE // others))


def normalised(weights: Tensor) -> Tensor:
    """Weights (..., n) divided by their sum."""
    return weights / weights.sum(-1, keepdim=True)


def masses(weights: Tensor | None, x: Tensor, batch: torch.Size) -> Tensor:
    """The mass of each point of x (..., n, D), of shape (*batch, n) and sum 1. Without weights all are equal."""
    n = x.shape[-2]
    return (x.new_full((n,), 1 / n) if weights is None else normalised(weights)).expand(*batch, n)


def power_mean(lengths: Tensor, masses: Tensor, p: float) -> Tensor:
    """(Σ masses · lengths^p)^(1/p) over the last dimension. If every length is zero, the gradient is zero.

    Lengths are first divided by the largest of them, so that no power underflows or overflows.
    """
    if p == 1:
        return (masses * lengths).sum(-1)
    largest = lengths.detach().amax(-1)
    largest = torch.where(largest > 0, largest, 1)
    return largest * root((masses * (lengths / largest.unsqueeze(-1)) ** p).sum(-1), p)


def root(total: Tensor, p: float) -> Tensor:
    """total^(1/p). Where total <= 0, value and gradient are zero: the derivative of the root there gives NaN."""
    positive = total > 0
    return torch.where(positive, torch.where(positive, total, 1) ** (1 / p), 0)
