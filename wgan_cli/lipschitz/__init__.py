"""Strategies that keep the critic Lipschitz, and the measure of how well they do.

The Wasserstein-1 distance is the largest gap over critics with slope at most 1 (Kantorovich and Rubinstein).
Without such a bound the gap means nothing. A new strategy is one file and its name in the union below.
"""

from typing import Annotated

from pydantic import Field

from wgan_cli.lipschitz.base import LipschitzSpec
from wgan_cli.lipschitz.clip import Clip
from wgan_cli.lipschitz.gradient_penalty import GradientPenalty
from wgan_cli.lipschitz.unbounded import Unbounded

Lipschitz = Annotated[Unbounded | Clip | GradientPenalty, Field(discriminator="kind")]

__all__ = ["Clip", "GradientPenalty", "Lipschitz", "LipschitzSpec", "Unbounded"]
