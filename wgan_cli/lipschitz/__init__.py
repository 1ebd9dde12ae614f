"""Strategies that bound the critic's slope, and measurements of the slope.

The Wasserstein-1 distance is the largest gap over all critics with slope at most 1 (Kantorovich and Rubinstein).
Without a bound on the slope, the gap means nothing. A new strategy is one file and its name in the union below.
"""

from typing import Annotated

from pydantic import Field

from wgan_cli.lipschitz.base import LipschitzSpec
from wgan_cli.lipschitz.clip import Clip
from wgan_cli.lipschitz.gradient_penalty import GradientPenalty
from wgan_cli.lipschitz.orthogonal import Orthogonal
from wgan_cli.lipschitz.r1 import R1
from wgan_cli.lipschitz.spectral import Spectral
from wgan_cli.lipschitz.unbounded import Unbounded

Lipschitz = Annotated[Unbounded | Clip | GradientPenalty | Orthogonal | R1 | Spectral, Field(discriminator="kind")]

__all__ = ["R1", "Clip", "GradientPenalty", "Lipschitz", "LipschitzSpec", "Orthogonal", "Spectral", "Unbounded"]
