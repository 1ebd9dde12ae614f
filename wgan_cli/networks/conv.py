"""Convolutional networks for series, images and volumes."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import nn

from wgan_cli.networks.base import CriticSpec, GeneratorSpec, Shape
from wgan_cli.networks.kinked import critic_of
from wgan_cli.networks.latent import Latent
from wgan_cli.networks.layers import activation
from wgan_cli.networks.spatial import convolution, doubling, normalisation
from wgan_cli.networks.stages import StagesSpec, Widths


class _ConvFields(StagesSpec):
    """Strided convolutions, after Radford et al. (2016)."""

    kind: Literal["conv"] = "conv"
    kernel: int = Field(default=4, ge=2)
    """The side of the kernels that halve or double the sizes."""

    def _after(self, dims: int, channels: int) -> list[nn.Module]:
        """What follows a linear layer or convolution: only it reads their output, so it may overwrite it."""
        return [*normalisation(self.norm, dims, channels), activation(self.activation, in_place=True)]


class ConvGenerator(_ConvFields, GeneratorSpec):
    """A linear layer to the smallest stage, transposed convolutions of stride 2, and one layer to the sample."""

    channels: Widths = (128, 64, 32)
    """Of each stage, the smallest first; each stage doubles the sizes of the one before."""
    final: Literal["conv", "transposed"] = "conv"
    """The last layer: `conv` is a kernel of side 3, and the last stage has full size; `transposed` is one more
    transposed convolution, as in DCGAN, and the last stage has half the size."""

    @model_validator(mode="before")
    @classmethod
    def _accept_configs_of_version_0_1(cls, fields: Any) -> Any:
        """Runs of version 0.1 hold `width: w`, for w channels in the smallest of three stages."""
        return _channels_for_width(fields, lambda width: (width, max(width // 2, 1), max(width // 4, 1)))

    @property
    def halvings(self) -> int:
        return len(self.channels) - (self.final == "conv")

    def build(self, latent: Latent, shape: Shape, *, bounded: bool) -> nn.Module:
        small = (self.channels[0], *self.smallest(shape))
        dims, last = len(shape) - 1, self.channels[-1]
        layers = [
            nn.Linear(latent.dim, math.prod(small)),
            nn.Unflatten(1, small),
            *self._after(dims, small[0]),
        ]
        for inputs, outputs in pairwise(self.channels):
            layers += [doubling(dims, inputs, outputs, self.kernel), *self._after(dims, outputs)]
        if self.final == "conv":
            layers.append(convolution(dims, last, shape[0], 3))
        else:
            layers.append(doubling(dims, last, shape[0], self.kernel))
        if bounded:
            layers.append(nn.Tanh())
        return self._initialise(nn.Sequential(*layers))


class ConvCritic(_ConvFields, CriticSpec):
    """Convolutions of stride 2, fully connected layers if wanted, and a linear layer to the score."""

    channels: Widths = (64, 128)
    """Of each stage, the largest first; each stage halves the sizes. No norm follows the first, as in DCGAN."""
    hidden: Widths = ()
    """Widths of fully connected layers, without norm, between the last stage and the score. A kernel sees a part of
    a sample; these see all of it, and what its parts have to do with one another."""

    @model_validator(mode="before")
    @classmethod
    def _accept_configs_of_version_0_1(cls, fields: Any) -> Any:
        """Runs of version 0.1 hold `width: w`, for w channels in the first of two stages."""
        return _channels_for_width(fields, lambda width: (width, 2 * width))

    @property
    def halvings(self) -> int:
        return len(self.channels)

    @property
    def steepens(self) -> str | None:
        """Norms divide by what may be small, larger kernels overlap, and SiLU has a slope of 1.1 at most."""
        if self.norm != "none":
            return "norm"
        if self.kernel != 2:
            return "kernel"
        return "activation" if self.activation == "silu" else None

    def build(self, shape: Shape) -> nn.Module:
        positions, dims = math.prod(self.smallest(shape)), len(shape) - 1
        layers: list[nn.Module] = [
            convolution(dims, shape[0], self.channels[0], self.kernel, stride=2),
            activation(self.activation, in_place=True),
        ]
        for inputs, outputs in pairwise(self.channels):
            layers += [convolution(dims, inputs, outputs, self.kernel, stride=2), *self._after(dims, outputs)]
        layers.append(nn.Flatten())
        widths = (self.channels[-1] * positions, *self.hidden)
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), activation(self.activation, in_place=True)]
        layers += [nn.Linear(widths[-1], 1), nn.Flatten(0)]
        return self._initialise(critic_of(layers))


def _channels_for_width(fields: Any, channels: Callable[[int], tuple[int, ...]]) -> Any:
    """The fields with `channels` in place of `width`, if they hold one."""
    if not isinstance(fields, dict) or not isinstance(fields.get("width"), int):
        return fields
    new = channels(fields["width"])
    if "channels" in fields:
        raise ValueError(f"width has become channels; write channels: {list(new)}")
    return {**{name: value for name, value in fields.items() if name != "width"}, "channels": new}
