"""Optimizers of the two networks, each with its own, and how their learning rates decay."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from wgan_cli.spec import Choice, Spec

Fraction = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSpec(Choice, ABC):
    lr: float = Field(gt=0)
    decay: Literal["constant", "linear"] = "constant"
    """`linear` takes the learning rate to zero over `training.iterations`."""

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer: ...

    def schedule(self, optimizer: torch.optim.Optimizer, iterations: int) -> LRScheduler:
        """To be stepped once an iteration, whatever `n_critic` is."""

        def factor(iteration: int) -> float:
            return max(0.0, 1 - iteration / iterations) if self.decay == "linear" else 1.0

        return LambdaLR(optimizer, factor)


class Adam(OptimizerSpec):
    """Kingma and Ba (2015)."""

    kind: Literal["adam"] = "adam"
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.lr, betas=self.betas)


class RmsProp(OptimizerSpec):
    """Hinton's lecture 6e (2012); the choice of Arjovsky et al. (2017) under clipping."""

    kind: Literal["rmsprop"] = "rmsprop"
    alpha: Fraction = 0.99

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=self.lr, alpha=self.alpha)


Optimizer = Annotated[Adam | RmsProp, Field(discriminator="kind")]


class Optimizers(Spec):
    generator: Optimizer
    critic: Optimizer
