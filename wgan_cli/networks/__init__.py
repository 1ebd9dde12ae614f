"""Networks: generators map latents (N, dim) to samples (N, *shape), critics map samples to scores (N,).

A critic's score is unbounded: no sigmoid. A generator of bounded samples ends in tanh, as these are scaled to
[-1, 1]; any other ends in its last linear layer or convolution. A new kind of network is one file and its names in the
unions below.
"""

from typing import Annotated

from pydantic import Field

from wgan_cli.networks.base import CriticSpec, GeneratorSpec, Shape
from wgan_cli.networks.conv import ConvCritic, ConvGenerator
from wgan_cli.networks.latent import Latent
from wgan_cli.networks.mcshane import McShaneCritic
from wgan_cli.networks.mlp import MlpCritic, MlpGenerator
from wgan_cli.networks.resnet import ResnetCritic, ResnetGenerator

Generator = Annotated[MlpGenerator | ConvGenerator | ResnetGenerator, Field(discriminator="kind")]
Critic = Annotated[MlpCritic | ConvCritic | ResnetCritic | McShaneCritic, Field(discriminator="kind")]

__all__ = [
    "ConvCritic",
    "ConvGenerator",
    "Critic",
    "CriticSpec",
    "Generator",
    "GeneratorSpec",
    "Latent",
    "McShaneCritic",
    "MlpCritic",
    "MlpGenerator",
    "ResnetCritic",
    "ResnetGenerator",
    "Shape",
]
