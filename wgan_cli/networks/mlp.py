"""Fully connected networks."""

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from torch import nn

from wgan_cli.networks.base import CriticSpec, GeneratorSpec, NetworkSpec, Shape
from wgan_cli.networks.kinked import critic_of
from wgan_cli.networks.latent import Latent
from wgan_cli.networks.layers import Activation, Residual, activation


class _MlpFields(NetworkSpec):
    """Fully connected layers; samples of any shape are flattened."""

    kind: Literal["mlp"] = "mlp"
    norm: Literal["none", "batch", "layer"] = "none"
    """`layer` takes all values of a layer together; `batch` each value over the samples of the batch, so a critic
    under a per-sample penalty can't have it."""
    norm_first: bool = True
    """Whether the first hidden layer has the norm too."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (128, 128)
    """The width of each hidden layer."""
    residual: bool = False
    """Adds the input of each hidden layer but the first to its output; they need one width."""
    activation: Activation = "leaky_relu"
    """After each hidden layer."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """The share of hidden values that training sets to 0 at random."""

    @field_validator("norm_first")
    @classmethod
    def _check_norm_first(cls, norm_first: bool, fields: ValidationInfo) -> bool:
        if not norm_first and fields.data.get("norm") == "none":
            raise ValueError("is false, but there is no norm; give one, or take this key away")
        return norm_first

    @field_validator("residual")
    @classmethod
    def _check_residual(cls, residual: bool, fields: ValidationInfo) -> bool:
        hidden = fields.data.get("hidden", (1, 1))
        if residual and len(set(hidden)) > 1:
            raise ValueError(f"needs hidden layers of one width, but hidden is {list(hidden)}")
        if residual and len(hidden) < 2:
            raise ValueError(f"needs at least two hidden layers, but hidden is {list(hidden)}")
        return residual

    @property
    def draws_randomness(self) -> str | None:
        return "dropout" if self.dropout else None

    @property
    def steepens(self) -> str | None:
        """Norms divide by what may be small, dropout and shortcuts add, and SiLU has a slope of 1.1 at most."""
        for key in ("dropout", "residual"):
            if getattr(self, key):
                return key
        if self.norm != "none":
            return "norm"
        return "activation" if self.activation == "silu" else None

    def _hidden_layers(self, inputs: int) -> list[nn.Module]:
        layers = self._layer(inputs, self.hidden[0], first=True) if self.hidden else []
        for fan_in, fan_out in pairwise(self.hidden):
            layer = self._layer(fan_in, fan_out)
            layers += [Residual(nn.Sequential(*layer))] if self.residual else layer
        return layers

    def _layer(self, inputs: int, outputs: int, *, first: bool = False) -> list[nn.Module]:
        layers: list[nn.Module] = [nn.Linear(inputs, outputs)]
        if self.norm != "none" and (self.norm_first or not first):
            layers.append(nn.BatchNorm1d(outputs) if self.norm == "batch" else nn.LayerNorm(outputs))
        layers.append(activation(self.activation, in_place=True))  # only it reads the layer before
        if self.dropout:
            layers.append(nn.Dropout(self.dropout))
        return layers


class MlpGenerator(_MlpFields, GeneratorSpec):
    def build(self, latent: Latent, shape: Shape, *, bounded: bool) -> nn.Module:
        layers = self._hidden_layers(latent.dim)
        layers.append(nn.Linear((latent.dim, *self.hidden)[-1], math.prod(shape)))
        if bounded:
            layers.append(nn.Tanh())
        return self._initialise(nn.Sequential(*layers, nn.Unflatten(1, shape)))


class MlpCritic(_MlpFields, CriticSpec):
    def build(self, shape: Shape) -> nn.Module:
        inputs = math.prod(shape)
        head = nn.Linear((inputs, *self.hidden)[-1], 1)
        return self._initialise(critic_of([nn.Flatten(), *self._hidden_layers(inputs), head, nn.Flatten(0)]))
