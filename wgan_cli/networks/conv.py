"""Convolutional networks for images."""

import math
from typing import Literal

from pydantic import Field
from torch import nn

from wgan_cli.networks.base import CriticSpec, GeneratorSpec, NetworkSpec, Shape
from wgan_cli.networks.latent import Latent
from wgan_cli.networks.layers import Activation, activation


class _ConvFields(NetworkSpec):
    """Convolutions for images whose sides divide by 4, with any number of channels."""

    kind: Literal["conv"] = "conv"
    activation: Activation = "leaky_relu"

    def check_shape(self, shape: Shape) -> None:
        if len(shape) != 3:
            raise ValueError(f"conv needs images, but a sample here is {shape[0]} plain values; use mlp")
        if shape[1] % 4 or shape[2] % 4:
            raise ValueError(f"conv needs sides that divide by 4, but images are {shape[1]} x {shape[2]}; use mlp")


class ConvGenerator(_ConvFields, GeneratorSpec):
    """A linear layer to a quarter of the side, two transposed convolutions of stride 2, a 3 x 3 convolution, tanh."""

    width: int = Field(default=128, ge=4, multiple_of=4)
    """Channels at a quarter of the side; half as many at half the side, a quarter as many at full size."""
    norm: Literal["none", "batch"] = "none"

    def build(self, latent: Latent, shape: Shape) -> nn.Module:
        self.check_shape(shape)
        channels, height, width = shape
        small = (self.width, height // 4, width // 4)
        layers = [
            nn.Linear(latent.dim, math.prod(small)),
            nn.Unflatten(1, small),
            *self._after(self.width),
            nn.ConvTranspose2d(self.width, self.width // 2, 4, stride=2, padding=1),
            *self._after(self.width // 2),
            nn.ConvTranspose2d(self.width // 2, self.width // 4, 4, stride=2, padding=1),
            *self._after(self.width // 4),
            nn.Conv2d(self.width // 4, channels, 3, padding=1),
            nn.Tanh(),
        ]
        return self._initialise(nn.Sequential(*layers))

    def _after(self, channels: int) -> list[nn.Module]:
        norm: list[nn.Module] = [nn.BatchNorm2d(channels)] if self.norm == "batch" else []
        return [*norm, activation(self.activation, in_place=True)]


class ConvCritic(_ConvFields, CriticSpec):
    """Two convolutions of stride 2 and a linear layer. A norm over the batch would not fit a per-sample penalty."""

    width: int = Field(default=64, ge=1)
    """Channels at half the side; twice as many at a quarter of the side."""
    norm: Literal["none"] = "none"

    def build(self, shape: Shape) -> nn.Module:
        self.check_shape(shape)
        channels, height, width = shape
        layers = [
            nn.Conv2d(channels, self.width, 4, stride=2, padding=1),
            activation(self.activation, in_place=True),
            nn.Conv2d(self.width, 2 * self.width, 4, stride=2, padding=1),
            activation(self.activation, in_place=True),
            nn.Flatten(),
            nn.Linear(2 * self.width * (height // 4) * (width // 4), 1),
            nn.Flatten(0),
        ]
        return self._initialise(nn.Sequential(*layers))
