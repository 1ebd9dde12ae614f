"""The gradient penalty of WGAN-GP, two-sided and one-sided."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from wgan_cli.lipschitz.base import Critic, LipschitzSpec, Noise
from wgan_cli.lipschitz.slope import between, slopes


class GradientPenalty(LipschitzSpec):
    """weight · mean((‖∇ₓ critic(x̂)‖₂ − target)²) at points x̂ between real and fake (Gulrajani et al., 2017).

    `sided: one` penalises only slopes above the target (WGAN-LP, Petzka et al., 2018). It allows slope 0, which a 1-D
    target needs: in one dimension the slope has to pass zero to change its sign.
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

    def noise(self, batch_size: int, stream: torch.Generator) -> Noise:
        """One mixing weight in [0, 1) per sample: (batch_size,)."""
        return (torch.rand(batch_size, generator=stream, device=stream.device),)

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, noise: Noise) -> Tensor:
        (t,) = noise
        excess = slopes(critic, between(real, fake, t), create_graph=True) - self.target
        if self.sided == "one":
            excess = excess.clamp(min=0)
        return self.weight * excess.square().mean()
