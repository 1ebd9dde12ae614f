"""Strategies that keep the critic Lipschitz, and the measure of how well they do.

The Wasserstein-1 distance is the largest gap over critics with slope at most 1 (Kantorovich and Rubinstein).
Without such a bound the gap means nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from wgan_cli.spec import Choice


def slopes(critic: Callable[[Tensor], Tensor], points: Tensor, *, create_graph: bool = False) -> Tensor:
    """‖∇ₓ critic(x)‖₂ at each of `points` (N, *shape): (N,), over all of a sample's dimensions.

    At least float32, whatever the critic computes in. Finite and differentiable where the gradient is zero
    (`vector_norm` has the subgradient 0 there; the square root of a sum of squares has none).
    """
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        scores = critic(points)
        (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=create_graph)
    precise = torch.promote_types(gradient.dtype, torch.float32)
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=precise)


def between(real: Tensor, fake: Tensor, uniform: Tensor) -> Tensor:
    """Points on the straight lines from fake to real, at one `uniform` (N,) a sample (Gulrajani et al., 2017)."""
    return torch.lerp(fake, real, uniform.view(-1, *[1] * (real.dim() - 1)))


class LipschitzSpec(Choice, ABC):
    """What every strategy promises; the default is to do nothing."""

    @property
    def per_sample(self) -> bool:
        """Whether the strategy needs each score to depend on its own sample alone."""
        return False

    def penalty(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, uniform: Tensor) -> Tensor:
        """What is added to the critic's loss: a 0-d tensor, with a graph to the critic's parameters.

        `uniform` (N,) is one fresh number in [0, 1) a sample, all the randomness there is. Under ranks it is the
        mean over samples that makes the ranks' gradients add up to one process's.
        """
        return real.new_zeros(())

    def constrain(self, critic: nn.Module) -> None:
        """Acts on the critic's parameters in place, after each of its optimizer's steps."""
        return

    def advice_on_negative_gap(self) -> str | None:
        """What to do about a gap that stays negative, where the strategy itself can be the cause."""
        return None

    @property
    @abstractmethod
    def bounds_slope(self) -> bool:
        """Whether anything keeps the critic's slope from growing without end."""


class Unbounded(LipschitzSpec):
    """Nothing: right for the plain GAN's discriminator, meaningless for a Wasserstein critic."""

    kind: Literal["none"] = "none"

    @property
    def bounds_slope(self) -> bool:
        return False


class Clip(LipschitzSpec):
    """Every parameter of the critic is clipped to [-bound, bound] after each step (Arjovsky et al., 2017)."""

    kind: Literal["clip"] = "clip"
    bound: float = Field(default=0.01, gt=0)

    @property
    def bounds_slope(self) -> bool:
        return True

    @torch.no_grad()
    def constrain(self, critic: nn.Module) -> None:
        parameters: list[Tensor] = list(critic.parameters())
        torch._foreach_clamp_min_(parameters, -self.bound)
        torch._foreach_clamp_max_(parameters, self.bound)


class GradientPenalty(LipschitzSpec):
    """weight · mean((‖∇ₓ critic(x̂)‖₂ − target)²) at points x̂ between real and fake (Gulrajani et al., 2017).

    `sided: one` punishes only slopes above the target (the WGAN-LP of Petzka et al., 2018): it leaves the
    critic free to be flat, which a 1-D target needs, as there the slope has to pass zero to change its sign.
    """

    kind: Literal["gp"] = "gp"
    weight: float = Field(default=10.0, gt=0)
    target: float = Field(default=1.0, gt=0)
    sided: Literal["one", "two"] = "two"

    @property
    def per_sample(self) -> bool:
        return True

    @property
    def bounds_slope(self) -> bool:
        return True

    def advice_on_negative_gap(self) -> str | None:
        if self.sided == "one":
            return None
        return (
            "the two-sided penalty holds the slope on the wrong sign, as it would have to pass zero to change; "
            "use lipschitz.sided: one, or a weight near 0.1"
        )

    def penalty(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, uniform: Tensor) -> Tensor:
        norms = slopes(critic, between(real, fake, uniform), create_graph=True)
        excess = norms - self.target
        if self.sided == "one":
            excess = excess.clamp(min=0)
        return self.weight * excess.square().mean()


Lipschitz = Annotated[Unbounded | Clip | GradientPenalty, Field(discriminator="kind")]
