"""Objectives: the losses of critic and generator, as functions of the critic's scores (N,)."""

from abc import ABC, abstractmethod
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from wgan_cli.spec import Choice


class ObjectiveSpec(Choice, ABC):
    """The interface of an objective."""

    @abstractmethod
    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss before any penalty, from the scores (N,) of real and fake samples: 0-d."""

    @abstractmethod
    def generator_loss(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """The generator's loss, from the scores (N,) of its samples: 0-d.

        `real` are scores (N,) of real samples, if `pairs_samples`.
        """

    @property
    def pairs_samples(self) -> bool:
        """Whether the generator's loss compares the score of each of its samples with that of a real one."""
        return False

    @property
    @abstractmethod
    def needs_slope_bound(self) -> bool:
        """Whether the objective is meaningless without a Lipschitz strategy."""


class Wasserstein(ObjectiveSpec):
    """The critic maximises the gap, the generator raises the score of its samples (Arjovsky et al., 2017)."""

    kind: Literal["wasserstein"] = "wasserstein"

    @property
    def needs_slope_bound(self) -> bool:
        return True

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()

    def generator_loss(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -fake.mean()


class Gan(ObjectiveSpec):
    """The plain GAN with the non-saturating generator loss (Goodfellow et al., 2014): the baseline.

    Scores are logits of the probability that a sample is real, so log(1 − sigmoid(s)) = logsigmoid(−s).
    """

    kind: Literal["gan"] = "gan"

    @property
    def needs_slope_bound(self) -> bool:
        return False

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return -logsigmoid(real).mean() - logsigmoid(-fake).mean()

    def generator_loss(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -logsigmoid(fake).mean()


class Hinge(ObjectiveSpec):
    """The critic raises real scores to 1 and lowers fake ones to −1, but no further (Lim and Ye, 2017)."""

    kind: Literal["hinge"] = "hinge"

    @property
    def needs_slope_bound(self) -> bool:
        return False

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return relu(1 - real).mean() + relu(1 + fake).mean()

    def generator_loss(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -fake.mean()


class Relativistic(ObjectiveSpec):
    """The critic has to score each real sample above the fake one it is paired with, the generator the reverse.

    The plain GAN's loss of the difference of scores (Jolicoeur-Martineau, 2019), as in R3GAN (Huang et al., 2024),
    which goes with `r1` at real and at fake samples.
    """

    kind: Literal["relativistic"] = "relativistic"

    @property
    def needs_slope_bound(self) -> bool:
        return False

    @property
    def pairs_samples(self) -> bool:
        return True

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return -logsigmoid(real - fake).mean()

    def generator_loss(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        assert real is not None
        return -logsigmoid(fake - real).mean()


Objective = Annotated[Wasserstein | Gan | Hinge | Relativistic, Field(discriminator="kind")]
