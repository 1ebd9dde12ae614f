"""The zero-centred gradient penalties R1 and R2."""

from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor

from wgan_cli.lipschitz.base import Critic, LipschitzSpec, Noise
from wgan_cli.lipschitz.slope import slopes


class R1(LipschitzSpec):
    """weight / 2 · mean(‖∇ₓ critic(x)‖₂²) at real samples, and the same at fake ones with a weight of their own.

    R1 is the first term, R2 the second (Mescheder et al., 2018); R3GAN has both (Huang et al., 2024). They are for
    objectives such as `gan`: the slope between the samples is free, so the gap of `wasserstein` could grow for ever.
    """

    kind: Literal["r1"] = "r1"
    weight: float = Field(default=1.0, ge=0)
    """Of the penalty at real samples."""
    fake_weight: float = Field(default=0.0, ge=0)
    """Of the penalty at fake samples."""

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if not self.weight and not self.fake_weight:
            raise ValueError("weight and fake_weight are both 0, which penalises nothing; use kind: none")
        return self

    @property
    def per_sample(self) -> bool:
        return True

    @property
    def bounds_slope(self) -> bool:
        return False  # between real and fake samples the critic may be as steep as it likes

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, noise: Noise) -> Tensor:
        terms = [
            weight / 2 * slopes(critic, samples, create_graph=True).square().mean()
            for weight, samples in ((self.weight, real), (self.fake_weight, fake))
            if weight
        ]
        return sum(terms[1:], terms[0])
