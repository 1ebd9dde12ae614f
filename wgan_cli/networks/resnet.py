"""Residual networks: those of Gulrajani et al. (2017) for CIFAR-10, for series, images and volumes of any size.

Norms and activations stand before the convolutions (He et al., 2016b), and every block that changes the size has a
convolution of side 1 as its shortcut.
"""

import math
from itertools import pairwise
from typing import Literal

from pydantic import Field
from torch import nn

from wgan_cli.networks.base import CriticSpec, GeneratorSpec, Norm, Shape
from wgan_cli.networks.latent import Latent
from wgan_cli.networks.layers import Activation, Residual, activation
from wgan_cli.networks.spatial import MeanOverPositions, PooledConv, UpsampledConv, convolution, normalisation
from wgan_cli.networks.stages import StagesSpec, Widths


class _ResnetFields(StagesSpec):
    """Residual blocks of two convolutions of side 3 (Gulrajani et al., 2017)."""

    kind: Literal["resnet"] = "resnet"
    activation: Activation = "relu"
    """Before each convolution of a block."""

    def _before(self, dims: int, channels: int, *, shared: bool) -> list[nn.Module]:
        """What stands before a convolution. If its input is `shared` with a shortcut, nothing overwrites it."""
        norm = normalisation(self.norm, dims, channels)
        return [*norm, activation(self.activation, in_place=bool(norm) or not shared)]

    def _body(self, dims: int, channels: tuple[int, int], first: nn.Module, second: nn.Module) -> nn.Module:
        """The two convolutions of a block, with what stands before each: the `channels` of their inputs are given."""
        before_first = self._before(dims, channels[0], shared=True)
        return nn.Sequential(*before_first, first, *self._before(dims, channels[1], shared=False), second)


class ResnetGenerator(_ResnetFields, GeneratorSpec):
    """A linear layer to the smallest stage, upsampling blocks, norm, activation and a convolution of side 3."""

    norm: Norm = "batch"
    """Before each activation."""
    channels: Widths = (128, 128, 128, 128)
    """Of the linear layer's output, then of each block, which doubles the sizes."""

    @property
    def halvings(self) -> int:
        return len(self.channels) - 1

    def build(self, latent: Latent, shape: Shape, *, bounded: bool) -> nn.Module:
        small = (self.channels[0], *self.smallest(shape))
        dims, last = len(shape) - 1, self.channels[-1]
        layers = [
            nn.Linear(latent.dim, math.prod(small)),
            nn.Unflatten(1, small),
            *(self._upsampling(dims, inputs, outputs) for inputs, outputs in pairwise(self.channels)),
            *self._before(dims, last, shared=False),
            convolution(dims, last, shape[0], 3),
        ]
        if bounded:
            layers.append(nn.Tanh())
        return self._initialise(nn.Sequential(*layers))

    def _upsampling(self, dims: int, inputs: int, outputs: int) -> nn.Module:
        first, second = UpsampledConv(dims, inputs, outputs, 3), convolution(dims, outputs, outputs, 3)
        body = self._body(dims, (inputs, outputs), first, second)
        return Residual(body, UpsampledConv(dims, inputs, outputs, 1))


class ResnetCritic(_ResnetFields, CriticSpec):
    """Downsampling blocks, plain blocks, activation, the mean over all positions and a linear layer to the score."""

    channels: Widths = (128, 128)
    """Of each downsampling block, which halves the sizes. The first has neither norm nor activation before it."""
    plain_blocks: int = Field(default=2, ge=0)
    """Blocks after these, which keep sizes and channels."""

    @property
    def halvings(self) -> int:
        return len(self.channels)

    def build(self, shape: Shape) -> nn.Module:
        self.check_shape(shape)
        dims, last = len(shape) - 1, self.channels[-1]
        layers = [
            self._first(dims, shape[0], self.channels[0]),
            *(self._downsampling(dims, inputs, outputs) for inputs, outputs in pairwise(self.channels)),
            *(self._plain(dims, last) for _ in range(self.plain_blocks)),
            activation(self.activation, in_place=True),  # only it reads the sum of the block before
            MeanOverPositions(),
            nn.Linear(last, 1),
            nn.Flatten(0),
        ]
        return self._initialise(nn.Sequential(*layers))

    def _first(self, dims: int, inputs: int, outputs: int) -> nn.Module:
        body = nn.Sequential(
            convolution(dims, inputs, outputs, 3),
            activation(self.activation, in_place=True),
            PooledConv(dims, outputs, outputs, 3),
        )
        return Residual(body, PooledConv(dims, inputs, outputs, 1))

    def _downsampling(self, dims: int, inputs: int, outputs: int) -> nn.Module:
        first, second = convolution(dims, inputs, inputs, 3), PooledConv(dims, inputs, outputs, 3)
        body = self._body(dims, (inputs, inputs), first, second)
        return Residual(body, PooledConv(dims, inputs, outputs, 1))

    def _plain(self, dims: int, channels: int) -> nn.Module:
        first, second = (convolution(dims, channels, channels, 3) for _ in range(2))
        return Residual(self._body(dims, (channels, channels), first, second))
