"""The critic's slope ‖∇ₓ critic(x)‖₂, and the points at which it is measured."""

import torch
from torch import Tensor

from wgan_cli.lipschitz.base import Critic


def slopes(critic: Critic, points: Tensor, *, create_graph: bool = False) -> Tensor:
    """‖∇ₓ critic(x)‖₂ over all of a sample's dimensions, at each of `points` (N, *shape): (N,).

    Computed in float32 at least, whatever the critic computes in. Finite and differentiable where the gradient is
    zero: `vector_norm` has the subgradient 0 there, the square root of a sum of squares has none.
    """
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        scores = critic(points)
        (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=create_graph)
    precise = torch.promote_types(gradient.dtype, torch.float32)
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=precise)


def between(real: Tensor, fake: Tensor, t: Tensor) -> Tensor:
    """The points fake + t (real − fake), one weight `t` (N,) a sample (Gulrajani et al., 2017)."""
    return torch.lerp(fake, real, t.view(-1, *[1] * (real.dim() - 1)))
