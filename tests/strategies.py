"""A Lipschitz strategy that the package lacks, as one class: the interface has room for it."""

from typing import Literal

import torch
from torch import Tensor

from wgan_cli.lipschitz import LipschitzSpec
from wgan_cli.lipschitz.base import Critic, Noise
from wgan_cli.lipschitz.slope import slopes


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
