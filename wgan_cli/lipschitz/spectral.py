"""Spectral normalisation."""

from typing import Literal

from pydantic import Field
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from wgan_cli.lipschitz.base import LipschitzSpec


class Spectral(LipschitzSpec):
    """Divides the weights of each layer by their largest singular value (Miyato et al., 2018).

    Power iterations find that value; their vectors are buffers of the critic, which each pass in training updates. So
    each fully connected layer has slope at most 1, up to the error of the iterations. For a convolution the value is
    that of its kernel as a matrix (channels out, everything else), which bounds its slope only up to a constant: a
    kernel of side k at stride s can reach √⌈k / s⌉ in each dimension.
    """

    kind: Literal["spectral"] = "spectral"
    power_iterations: int = Field(default=1, ge=1)
    """In each pass. One is enough, as the weights change little between passes."""

    @property
    def bounds_slope(self) -> bool:
        return True

    @property
    def keeps_state(self) -> bool:
        return True

    def attach(self, critic: nn.Module) -> nn.Module:
        for module in list(critic.modules()):
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                spectral_norm(module, n_power_iterations=self.power_iterations)
        return critic
