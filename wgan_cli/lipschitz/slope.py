"""The critic's slope ‖∇ₓ critic(x)‖₂, and points between samples at which it is measured."""

import torch
from torch import Tensor

from wgan_cli.lipschitz.base import Critic


def slopes(critic: Critic, points: Tensor, *, create_graph: bool = False) -> Tensor:
    """‖∇ₓ critic(x)‖₂ over all of a sample's dimensions, at each of `points` (N, *shape): (N,).

    The norm is computed in float32 at least, also for a critic in lower precision. Where the gradient is zero, the
    result is finite and differentiable: `vector_norm` uses the subgradient 0 there, but the square root of a sum of
    squares would give NaN.
    """
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        scores = critic(points)
        (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=create_graph)
    precise = torch.promote_types(gradient.dtype, torch.float32)
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=precise)


def between(real: Tensor, fake: Tensor, t: Tensor) -> Tensor:
    """The points fake + t (real − fake), with one weight of `t` (N,) per sample (Gulrajani et al., 2017)."""
    return torch.lerp(fake, real, t.view(-1, *[1] * (real.dim() - 1)))
