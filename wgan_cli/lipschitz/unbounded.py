"""No Lipschitz strategy."""

from typing import Literal

from wgan_cli.lipschitz.base import LipschitzSpec


class Unbounded(LipschitzSpec):
    """No constraint: right for the plain GAN's discriminator. The gap of a Wasserstein critic then means nothing."""

    kind: Literal["none"] = "none"

    @property
    def bounds_slope(self) -> bool:
        return False
