"""Networks: generators map latents (N, dim) to samples (N, *shape), critics map samples to scores (N,).

A critic's score is unbounded: it has no sigmoid. A generator of images ends in tanh, because images are scaled to
[-1, 1]. A generator of plain features ends in a linear layer. A new kind of network is one file and its names in the
unions below.
"""

from typing import Annotated

from pydantic import Field

from wgan_cli.networks.base import CriticSpec, GeneratorSpec, Shape
from wgan_cli.networks.conv import ConvCritic, ConvGenerator
from wgan_cli.networks.latent import Latent
from wgan_cli.networks.mlp import MlpCritic, MlpGenerator

Generator = Annotated[MlpGenerator | ConvGenerator, Field(discriminator="kind")]
Critic = Annotated[MlpCritic | ConvCritic, Field(discriminator="kind")]

__all__ = [
    "ConvCritic",
    "ConvGenerator",
    "Critic",
    "CriticSpec",
    "Generator",
    "GeneratorSpec",
    "Latent",
    "MlpCritic",
    "MlpGenerator",
    "Shape",
]
