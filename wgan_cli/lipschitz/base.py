"""The interface of a Lipschitz strategy."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from wgan_cli.spec import Choice

Critic = Callable[[Tensor], Tensor]
"""Samples (N, *shape) to scores (N,)."""
ConditionalCritic = Callable[..., Tensor]
"""Samples (N, *shape), and their conditions (N, width) if there are conditions, to scores (N,)."""
Noise = tuple[Tensor, ...]
"""The random numbers of one penalty: tensors with one row for each sample of the batch."""


def at_condition(critic: ConditionalCritic, condition: Tensor | None) -> Critic:
    """The critic as a function of samples (N, *shape) alone, at this condition (N, width) of theirs."""
    return critic if condition is None else lambda samples: critic(samples, condition)


class LipschitzSpec(Choice, ABC):
    """A Lipschitz strategy. The hooks do nothing by default; a strategy overrides those that it needs."""

    @property
    @abstractmethod
    def bounds_slope(self) -> bool:
        """Whether the strategy keeps the critic's slope from growing without limit."""

    @property
    def proves_gap(self) -> bool:
        """Whether the critic has slope at most 1 by construction, so that its gap is at most W1."""
        return False

    @property
    def is_capturable(self) -> bool:
        """Whether a CUDA graph can capture the critic's operations."""
        return True

    @property
    def per_sample(self) -> bool:
        """Whether the strategy requires that each score depends on its own sample alone."""
        return False

    @property
    def keeps_state(self) -> bool:
        """Whether `attach` adds buffers that a forward pass updates, such as the vectors of a power iteration."""
        return False

    def attach(self, critic: nn.Module) -> nn.Module:
        """Changes a new critic for the strategy, for example by a parametrization of its weights.

        Returns the module to use in place of `critic`. Its `state_dict` holds the state of both.
        """
        return critic

    def noise(self, batch_size: int, shape: tuple[int, ...], stream: torch.Generator) -> Noise:
        """Draws the random numbers of one penalty for a whole batch of samples of this shape, on the stream's device.

        With several ranks, each rank draws for the global batch and passes its own part to `penalty`.
        """
        return ()

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, noise: Noise) -> Tensor:
        """The term added to the critic's loss: a 0-d tensor, with a graph to the critic's parameters.

        It must be a mean over the samples, so that the mean of the gradients over ranks is that of the whole batch.
        """
        return real.new_zeros(())

    def constrain(self, critic: nn.Module) -> None:
        """Changes the critic's parameters in place, after each step of its optimizer."""
        return

    def advice_on_negative_gap(self) -> str | None:
        """Advice for a gap that stays negative; None if the strategy can't be the cause."""
        return None
