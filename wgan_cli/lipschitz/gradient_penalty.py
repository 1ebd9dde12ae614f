"""The gradient penalty of WGAN-GP, two-sided and one-sided."""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from wgan_cli.lipschitz.base import Critic, LipschitzSpec, Noise
from wgan_cli.lipschitz.slope import between, slopes


class GradientPenalty(LipschitzSpec):
    """weight · mean((‖∇ₓ critic(x̂)‖₂ − target)²) at points x̂ between real and fake (Gulrajani et al., 2017).

    `points: noise` penalises slopes around the real samples instead, at x + scale · N(0, 1) in each value (DRAGAN,
    Kodali et al., 2017). Far from them the critic may then be steeper, so its gap bounds no distance.

    `sided: one` penalises only slopes above the target (WGAN-LP, Petzka et al., 2018). It allows slope 0, which a 1-D
    target needs: in one dimension the slope has to pass zero to change its sign.
    """

    kind: Literal["gp"] = "gp"
    weight: float = Field(default=10.0, gt=0)
    """Of the penalty in the critic's loss."""
    target: float = Field(default=1.0, gt=0)
    """The slope that is not penalised."""
    sided: Literal["one", "two"] = "two"
    """`one` penalises slopes above the target alone, `two` those below too."""
    points: Literal["between", "noise"] = "between"
    """Where slopes are penalised: between real and fake samples, or near real ones."""
    scale: float | None = Field(default=None, gt=0)
    """Of the noise, in the unit that networks train on; 0.5 if it is left out."""

    @model_validator(mode="after")
    def _check_scale(self) -> Self:
        if self.scale is not None and self.points == "between":
            raise ValueError("scale is of points: noise; take it away, or give points: noise")
        return self

    @property
    def per_sample(self) -> bool:
        return True

    @property
    def bounds_slope(self) -> bool:
        return self.points == "between"

    def advice_on_negative_gap(self) -> str | None:
        if self.sided == "one":
            return None
        return (
            "the two-sided penalty holds the slope on the wrong sign, as it would have to pass zero to change; "
            "use lipschitz.sided: one, or a weight near 0.1"
        )

    def noise(self, batch_size: int, shape: tuple[int, ...], stream: torch.Generator) -> Noise:
        """One mixing weight in [0, 1) per sample, (batch_size,), or what is added to each: (batch_size, *shape)."""
        if self.points == "between":
            return (torch.rand(batch_size, generator=stream, device=stream.device),)
        return (torch.randn(batch_size, *shape, generator=stream, device=stream.device),)

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, noise: Noise) -> Tensor:
        (drawn,) = noise
        points = between(real, fake, drawn) if self.points == "between" else real + (self.scale or 0.5) * drawn
        excess = slopes(critic, points, create_graph=True) - self.target
        if self.sided == "one":
            excess = excess.clamp(min=0)
        return self.weight * excess.square().mean()
