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
BLOCK = 1 << 21
"""Values of points that are in memory at once as float64 (16 MB), a few times over."""
MOST_NEAR = 4
"""Near pairs of points for each point: with more, differences of all pairs are as quick."""


def quick_distances(x: Tensor, y: Tensor) -> Tensor:
    """`distances`, for long points (n, D) and (m, D) on the CPU without a gradient: many times as fast, by
    ‖x‖² + ‖y‖² − 2xy in float64, with a relative error below 1e-7, and by differences where points are too near."""
    is_plain = x.ndim == y.ndim == 2 and x.device.type == "cpu" and not (x.requires_grad or y.requires_grad)
    if not is_plain or x.shape[1] < LONG or not (len(x) and len(y)):
        return distances(x, y)
    squared, largest = _squared(x, y)
    near = squared <= 1e-8 * max(1.0, x.shape[1] / LONG) ** 0.5 * largest  # rounding errors add up as walks do
    if not squared.sum().isfinite() or near.sum() > MOST_NEAR * (len(x) + len(y)):
        return distances(x, y)
    for pairs in near.nonzero().split(max(1, BLOCK // x.shape[1])):
        rows, columns = pairs.T
        squared[rows, columns] = (x[rows].double() - y[columns].double()).square().sum(1)
    return squared.sqrt_().to(x.dtype)


def _squared(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """‖x_i − y_j‖² (n, m) but for rounding, and the largest ‖x‖² or ‖y‖² about their centre, all in float64."""
    norms = [torch.zeros(len(points), dtype=torch.float64) for points in (x, y)]
    squared = torch.zeros(len(x), len(y), dtype=torch.float64)
    width = max(1, BLOCK // (len(x) + len(y)))  # some columns at a time, as points may be long
    for blocks in zip(x.split(width, 1), y.split(width, 1), strict=True):
        exact = [block.double() for block in blocks]
        centre = (exact[0].mean(0) + exact[1].mean(0)) / 2
        centred = [block - centre for block in exact]
        for norm, block in zip(norms, centred, strict=True):
            norm += block.square().sum(1)
        squared.addmm_(centred[0], centred[1].T, alpha=-2)
    squared += norms[0][:, None]
    squared += norms[1]
    return squared, torch.stack([norm.max() for norm in norms]).max()


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
