"""What critic and generator minimise, as functions of the critic's scores (N,)."""

from abc import ABC, abstractmethod
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from wgan_cli.spec import Choice


class ObjectiveSpec(Choice, ABC):
    @abstractmethod
    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """To be minimised over the critic, before any penalty: a 0-d tensor of scores of real and fake."""

    @abstractmethod
    def generator_loss(self, fake: Tensor) -> Tensor:
        """To be minimised over the generator: a 0-d tensor of the scores of its samples."""

    @property
    @abstractmethod
    def needs_slope_bound(self) -> bool:
        """Whether the objective means nothing without a Lipschitz strategy."""


class Wasserstein(ObjectiveSpec):
    """The critic maximises the gap, the generator raises the score of its samples (Arjovsky et al., 2017)."""

    kind: Literal["wasserstein"] = "wasserstein"

    @property
    def needs_slope_bound(self) -> bool:
        return True

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        return -fake.mean()


class Gan(ObjectiveSpec):
    """The plain GAN with the non-saturating generator loss (Goodfellow et al., 2014): the baseline.

    Scores are logits of "this is real", so log(1 − sigmoid(s)) = logsigmoid(−s).
    """

    kind: Literal["gan"] = "gan"

    @property
    def needs_slope_bound(self) -> bool:
        return False

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return -logsigmoid(real).mean() - logsigmoid(-fake).mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        return -logsigmoid(fake).mean()


Objective = Annotated[Wasserstein | Gan, Field(discriminator="kind")]
