"""W2 between Gaussians, in closed form."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wgan_cli.transport.checks import check_gaussians
from wgan_cli.transport.costs import root


def gaussian_w2(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> Tensor:
    """W2, the distance (not its square), between two Gaussians: the root of `gaussian_w2_squared`."""
    return root(gaussian_w2_squared(mean_x, cov_x, mean_y, cov_y), 2)


def gaussian_w2_squared(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> Tensor:
    """W2² = ‖μx − μy‖² + tr(Σx + Σy − 2 (Σy^½ Σx Σy^½)^½): squared distance, in the squared unit of the points.

    Means (..., D) and covariances (..., D, D) give (...). Covariances must be symmetric, without negative
    eigenvalues. Gradients are finite if no covariance is singular; repeated eigenvalues are no problem (Dowson
    and Landau 1982, The Fréchet distance between multivariate normal distributions).
    """
    check_gaussians(mean_x, cov_x, mean_y, cov_y)
    cov_x, cov_y = (cov_x + cov_x.mT) / 2, (cov_y + cov_y.mT) / 2
    root_y = _symmetric_root(cov_y)
    cross = _symmetric_root(root_y @ cov_x @ root_y)
    spread = (cov_x + cov_y - 2 * cross).diagonal(dim1=-2, dim2=-1).sum(-1)
    # Between equal Gaussians, rounding can make the spread slightly negative.
    return ((mean_x - mean_y) ** 2).sum(-1) + spread.clamp_min(0)


def _symmetric_root(matrix: Tensor) -> Tensor:
    result: Tensor = _SymmetricRoot.apply(matrix)
    return result


class _SymmetricRoot(torch.autograd.Function):
    """S with S S = A, for symmetric A without negative eigenvalues (negative ones due to rounding count as zero).

    From dS S + S dS = dA, the derivative in the eigenbasis of A is dA_ij / (√λi + √λj). The derivative of eigh
    would divide by λi − λj instead, which is zero where eigenvalues are equal.
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
