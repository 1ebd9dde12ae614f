"""Weight clipping."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from wgan_cli.lipschitz.base import LipschitzSpec


class Clip(LipschitzSpec):
    """Clips every parameter of the critic to [-bound, bound] after each step (Arjovsky et al., 2017)."""

    kind: Literal["clip"] = "clip"
    bound: float = Field(default=0.01, gt=0)
    """The largest parameter, without its sign."""

    @property
    def bounds_slope(self) -> bool:
        return True

    @torch.no_grad()
    def constrain(self, critic: nn.Module) -> None:
        parameters: list[Tensor] = list(critic.parameters())
        torch._foreach_clamp_min_(parameters, -self.bound)
        torch._foreach_clamp_max_(parameters, self.bound)
