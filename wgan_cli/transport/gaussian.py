"""W2 between normals, in closed form."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wgan_cli.transport.shared import broadcast, check_alike, check_pair, check_points, root


def gaussian_w2(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> Tensor:
    """W2, the distance (not its square), between two Gaussians: the root of `gaussian_w2_squared`."""
    return root(gaussian_w2_squared(mean_x, cov_x, mean_y, cov_y), 2)


def gaussian_w2_squared(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> Tensor:
    """W2² = ‖μx − μy‖² + tr(Σx + Σy − 2 (Σy^½ Σx Σy^½)^½): squared distance, in the points' unit squared.

    Means (..., D) and covariances (..., D, D), symmetric and without negative eigenvalues, give (...).
    Gradients are finite wherever no covariance is singular, repeated eigenvalues included (Dowson and Landau
    1982, The Fréchet distance between multivariate normal distributions).
    """
    check_pair(mean_x, mean_y, point_dims=1, names=("mean_x", "mean_y"))
    if mean_x.shape[-1] != mean_y.shape[-1]:
        raise ValueError(f"mean_x has dimension {mean_x.shape[-1]}, mean_y {mean_y.shape[-1]}")
    cov_x = _check_covariance("cov_x", cov_x, mean_x)
    cov_y = _check_covariance("cov_y", cov_y, mean_y)
    broadcast("cov_x and cov_y", cov_x.shape[:-2], cov_y.shape[:-2])
    root_y = _symmetric_root(cov_y)
    cross = _symmetric_root(root_y @ cov_x @ root_y)
    spread = (cov_x + cov_y - 2 * cross).diagonal(dim1=-2, dim2=-1).sum(-1)
    # Rounding can leave equal Gaussians a hair below zero.
    return ((mean_x - mean_y) ** 2).sum(-1) + spread.clamp_min(0)


def _check_covariance(name: str, cov: Tensor, mean: Tensor) -> Tensor:
    """The covariance, symmetric to the last bit."""
    dimension = mean.shape[-1]
    check_points(name, cov, point_dims=2)
    if cov.shape[-2:] != (dimension, dimension):
        raise ValueError(f"{name} must be (..., {dimension}, {dimension}) for its mean: {tuple(cov.shape)}")
    check_alike("the mean", mean, name, cov)
    broadcast(f"{name} and its mean", cov.shape[:-2], mean.shape[:-1])
    slack = 1e3 * torch.finfo(cov.dtype).eps * cov.detach().abs().amax()
    if ((cov - cov.mT).abs() > slack).any():
        raise ValueError(f"{name} must be symmetric")
    symmetric = (cov + cov.mT) / 2
    if torch.linalg.eigvalsh(symmetric.detach()).amin() < -slack * dimension:
        raise ValueError(f"{name} must have no negative eigenvalue")
    return symmetric


def _symmetric_root(matrix: Tensor) -> Tensor:
    root: Tensor = _SymmetricRoot.apply(matrix)
    return root


class _SymmetricRoot(torch.autograd.Function):
    """S with S S = A, for symmetric A without negative eigenvalues (those of rounding are taken as zero).

    From dS S + S dS = dA, the derivative in A's eigenbasis is dA_ij / (√λi + √λj). Going through eigh's own
    derivative would divide by λi − λj, and a round Gaussian has equal eigenvalues.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        eigenvalues, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
        roots = eigenvalues.clamp_min(0).sqrt()
        ctx.save_for_backward(roots, vectors)
        return (vectors * roots.unsqueeze(-2)) @ vectors.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        roots, vectors = ctx.saved_tensors
        sums = roots.unsqueeze(-1) + roots.unsqueeze(-2)
        inverse = torch.where(sums > 0, 1 / sums, 0)
        gradient: Tensor = vectors @ (inverse * (vectors.mT @ ((grad + grad.mT) / 2) @ vectors)) @ vectors.mT
        return gradient
