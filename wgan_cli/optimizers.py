"""Optimizers, one for each network, and the decay of their learning rates."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from wgan_cli.spec import Choice, Spec

Fraction = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSpec(Choice, ABC):
    """The interface of an optimizer, and the schedule of its learning rate."""

    lr: float = Field(gt=0)
    """The learning rate, before it decays."""
    decay: Literal["constant", "linear"] = "constant"
    """`linear` takes the learning rate to zero at the end of `training.iterations`."""
    decay_from: float = Field(default=0.0, ge=0, lt=1)
    """The share of the iterations that have the full rate, before it decays."""

    @model_validator(mode="after")
    def _check_decay(self) -> Self:
        if self.decay_from and not self.decays:
            raise ValueError("decay_from needs a rate that decays; add decay: linear, or remove decay_from")
        return self

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter], capturable: bool = False) -> torch.optim.Optimizer:
        """The optimizer. With `capturable`, its counters and learning rate are on the GPU, for CUDA graphs."""

    @property
    def decays(self) -> bool:
        """Whether the learning rate changes during a run."""
        return self.decay != "constant"

    def rate(self, iteration: int, iterations: int) -> float:
        """The learning rate after `iteration` of `iterations`. Both networks count iterations, not their own steps."""
        if self.decay == "constant":
            return self.lr
        left = (1 - iteration / iterations) / (1 - self.decay_from)
        return self.lr * min(1.0, max(0.0, left))

    def _first_rate(self, parameters: list[nn.Parameter], capturable: bool) -> float | Tensor:
        """The rate as `build` needs it: CUDA's fused Adam reads a tensor as float32, whatever the weights are."""
        return torch.tensor(self.lr, dtype=torch.float32, device=parameters[0].device) if capturable else self.lr


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every parameter group. A tensor, which a CUDA graph reads, is changed in place."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


class _Uncompiled(torch.optim.Optimizer):
    """An optimizer whose methods are called as they are. torch's own import its compiler first, to say that it is not
    to compile them, which takes more than a second of every start."""

    add_param_group, zero_grad, state_dict, load_state_dict = (
        inspect.unwrap(getattr(torch.optim.Optimizer, name))
        for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    )


class _Adam(_Uncompiled, torch.optim.Adam):
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class _RmsProp(_Uncompiled, torch.optim.RMSprop):
    step = torch.no_grad()(inspect.unwrap(torch.optim.RMSprop.step))


class Adam(OptimizerSpec):
    """Adam (Kingma and Ba, 2015)."""

    kind: Literal["adam"] = "adam"
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """The decays of the means of gradients and of their squares."""

    def build(self, parameters: Iterable[nn.Parameter], capturable: bool = False) -> torch.optim.Optimizer:
        parameters = list(parameters)
        rate = self._first_rate(parameters, capturable)
        fused = parameters[0].device.type in ("cpu", "cuda")  # one kernel for all parameters
        return _Adam(parameters, lr=rate, betas=self.betas, fused=fused, capturable=capturable)


class RmsProp(OptimizerSpec):
    """RMSprop (Hinton, lecture 6e, 2012). Arjovsky et al. (2017) use it with clipping."""

    kind: Literal["rmsprop"] = "rmsprop"
    alpha: Fraction = 0.99
    """The decay of the mean of squared gradients."""

    def build(self, parameters: Iterable[nn.Parameter], capturable: bool = False) -> torch.optim.Optimizer:
        parameters = list(parameters)
        rate = self._first_rate(parameters, capturable)
        return _RmsProp(parameters, lr=rate, alpha=self.alpha, foreach=True, capturable=capturable)


Optimizer = Annotated[Adam | RmsProp, Field(discriminator="kind")]


class Optimizers(Spec):
    """The optimizer of each network."""

    generator: Optimizer
    """The generator's."""
    critic: Optimizer
    """The critic's."""
