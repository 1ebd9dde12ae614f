"""The critic's slope ‖∇ₓ critic(x)‖₂, and points between samples at which it is measured."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from wgan_cli.lipschitz.base import Critic


class JointPass:
    """A critic that computes slopes itself, and samples that it scores in the same pass as the first slopes asked for.

    `critic(samples)` has to give scores, and `critic(real, fake, points)` the scores of all samples, one after the
    other, and the slopes at points (M, *shape).
    """

    def __init__(self, critic: Callable[..., Any], real: Tensor, fake: Tensor) -> None:
        self._critic, self._samples = critic, (real, fake)
        self._scores: Tensor | None = None

    def __call__(self, samples: Tensor) -> Tensor:
        return self._critic(samples)

    def slopes(self, points: Tensor) -> Tensor:
        """The slopes (M,) at `points` (M, *shape), with a graph to the critic's weights."""
        if self._scores is not None:
            return self._critic(points[:0], points)[1]
        self._scores, slopes = self._critic(*self._samples, points)
        return slopes

    @property
    def scores(self) -> tuple[Tensor, Tensor]:
        """The scores (N,) of real and of fake samples. Ask for slopes first, as this takes a pass of its own else."""
        scores = self._critic(torch.cat(self._samples)) if self._scores is None else self._scores
        real, fake = scores.split([len(samples) for samples in self._samples])
        return real, fake


def slopes(critic: Critic, points: Tensor, *, create_graph: bool = False) -> Tensor:
    """‖∇ₓ critic(x)‖₂ over all of a sample's dimensions, at each of `points` (N, *shape): (N,).

    The norm is computed in float32 at least, also for a critic in lower precision. Where the gradient is zero, the
    result is finite and differentiable: `vector_norm` uses the subgradient 0 there, but the square root of a sum of
    squares would give NaN.
    """
    if create_graph and isinstance(critic, JointPass):
        return critic.slopes(points)
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        scores = critic(points)
        (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=create_graph)
    precise = torch.promote_types(gradient.dtype, torch.float32)
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=precise)


def between(real: Tensor, fake: Tensor, t: Tensor) -> Tensor:
    """The points fake + t (real − fake), with one weight of `t` (N,) per sample (Gulrajani et al., 2017)."""
    return torch.lerp(fake, real, t.view(-1, *[1] * (real.dim() - 1)))
