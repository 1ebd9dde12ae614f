"""Two Lipschitz strategies that the package lacks, each one class: the interface has room for them."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from wgan_cli.lipschitz import LipschitzSpec
from wgan_cli.lipschitz.base import Critic, Noise
from wgan_cli.lipschitz.slope import slopes


class Spectral(LipschitzSpec):
    """Divides each weight by its largest singular value (Miyato et al., 2018). It attaches itself to the critic, and
    keeps the singular vectors there."""

    kind: Literal["spectral"] = "spectral"

    @property
    def bounds_slope(self) -> bool:
        return True

    @property
    def keeps_state(self) -> bool:
        return True

    def attach(self, critic: nn.Module) -> nn.Module:
        for module in list(critic.modules()):
            if isinstance(module, nn.Linear | nn.Conv2d):
                spectral_norm(module)
        return critic


class NearReal(LipschitzSpec):
    """The penalty at points around the real samples (Kodali et al., 2017). Its noise has the shape of the samples."""

    kind: Literal["near_real"] = "near_real"
    shape: tuple[int, ...]

    @property
    def bounds_slope(self) -> bool:
        return True

    @property
    def per_sample(self) -> bool:
        return True

    def noise(self, batch_size: int, stream: torch.Generator) -> Noise:
        return (torch.randn(batch_size, *self.shape, generator=stream, device=stream.device),)

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, noise: Noise) -> Tensor:
        (offsets,) = noise
        return 10 * (slopes(critic, real + 0.5 * offsets, create_graph=True) - 1).square().mean()
