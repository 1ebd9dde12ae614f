"""Fully connected networks."""

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from wgan_cli.networks.base import CriticSpec, GeneratorSpec, NetworkSpec, Shape
from wgan_cli.networks.latent import Latent
from wgan_cli.networks.layers import Activation, activation


class _MlpFields(NetworkSpec):
    """Fully connected layers; samples of any shape are flattened."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (128, 128)
    activation: Activation = "leaky_relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @property
    def draws_randomness(self) -> str | None:
        return "dropout" if self.dropout else None

    def _hidden_layers(self, inputs: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise((inputs, *self.hidden)):
            layers.append(nn.Linear(fan_in, fan_out))
            if self.norm == "batch":
                layers.append(nn.BatchNorm1d(fan_out))
            elif self.norm == "layer":
                layers.append(nn.LayerNorm(fan_out))
            layers.append(activation(self.activation, in_place=True))  # nothing else reads the layer before
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
        return layers


class MlpGenerator(_MlpFields, GeneratorSpec):
    """Fully connected layers from latents to samples of any shape; images end in tanh."""

    def build(self, latent: Latent, shape: Shape) -> nn.Module:
        layers = self._hidden_layers(latent.dim)
        layers.append(nn.Linear((latent.dim, *self.hidden)[-1], math.prod(shape)))
        if len(shape) == 3:
            layers.append(nn.Tanh())
        return self._initialise(nn.Sequential(*layers, nn.Unflatten(1, shape)))


class MlpCritic(_MlpFields, CriticSpec):
    """Fully connected layers from flattened samples to scores."""

    def build(self, shape: Shape) -> nn.Module:
        inputs = math.prod(shape)
        head = nn.Linear((inputs, *self.hidden)[-1], 1)
        layers = [nn.Flatten(), *self._hidden_layers(inputs), head, nn.Flatten(0)]
        return self._initialise(nn.Sequential(*layers))
