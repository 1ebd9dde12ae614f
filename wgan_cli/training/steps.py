"""One critic step and one generator step (Gulrajani et al., 2017, algorithm 1).

Nothing here waits for the device: figures are 0-d tensors on it, and are read when they are logged.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wgan_cli.lipschitz import LipschitzSpec
from wgan_cli.lipschitz.base import Noise
from wgan_cli.objectives import ObjectiveSpec
from wgan_cli.training.distributed import ALONE, World

Figures = dict[str, Tensor]
Network = Callable[[Tensor], Tensor]
Loss = Callable[..., tuple[Tensor, Figures]]
"""Of a network and other arguments: the loss, a 0-d tensor with a graph, and figures without one."""
Differentiate = Callable[..., Figures]
"""Of a network, a `Loss` and its other arguments: sets the network's gradients, and returns the figures."""


def backward(network: nn.Module, loss: Loss, *others: Any) -> Figures:
    """Sets the gradients of `loss(network, *others)` on the network's parameters, by one backward pass."""
    value, figures = loss(network, *others)
    network.zero_grad()
    value.backward()
    return figures


@dataclass(frozen=True)
class Steps:
    """The critic step and the generator step of one configuration, for this rank's share of each batch."""

    objective: ObjectiveSpec
    lipschitz: LipschitzSpec
    world: World = ALONE
    dtype: torch.dtype = torch.float32
    """What the networks compute in; the penalty and everything else stay in the samples' own type."""
    critic_mixes_samples: bool = False
    """Whether a score depends on the other samples of its pass, so that real and fake need separate passes."""
    differentiate: Differentiate = backward

    def cast(self, tensor: Tensor) -> AbstractContextManager[object]:
        """A context in which networks compute in `dtype`. Casts are not cached: a CUDA graph would keep a stale one."""
        lower = self.dtype == torch.bfloat16
        return torch.autocast(tensor.device.type, torch.bfloat16, enabled=lower, cache_enabled=False)

    @torch.no_grad()
    def fake(self, generator: nn.Module, latents: Tensor) -> Tensor:
        """Generated samples (N, *shape) without a graph, for a critic step."""
        with self.cast(latents):
            return generator(latents).to(latents.dtype)

    def critic_loss(self, critic: Network, real: Tensor, fake: Tensor, noise: Noise) -> tuple[Tensor, Figures]:
        """The critic's loss on `real` and `fake` (N, *shape), and its figures.

        `fake` carries no generator graph; `noise` holds the strategy's random numbers.
        """
        real_scores, fake_scores = self.scores(critic, real, fake)
        penalty = self.lipschitz.penalty(critic, real, fake, noise)
        loss = self.objective.critic_loss(real_scores, fake_scores) + penalty
        real_score, fake_score = real_scores.detach().mean(), fake_scores.detach().mean()
        return loss, {
            "critic/gap": real_score - fake_score,
            "critic/real": real_score,
            "critic/fake": fake_score,
            "critic/penalty": penalty.detach(),
            "critic/loss": loss.detach(),
        }

    def scores(self, critic: Network, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """The scores (N,) of both, in one pass if that gives the same: larger products, and half the additions."""
        with self.cast(real):
            if self.critic_mixes_samples:
                return critic(real).to(real.dtype), critic(fake).to(real.dtype)
            real_scores, fake_scores = critic(torch.cat([real, fake])).to(real.dtype).split(len(real))
        return real_scores, fake_scores

    def generator_loss(self, generator: Network, critic: Network, latents: Tensor) -> tuple[Tensor, Figures]:
        """The generator's loss on new `latents` (N, dim), and its figures."""
        with self.cast(latents):
            scores = critic(generator(latents)).to(latents.dtype)
        loss = self.objective.generator_loss(scores)
        return loss, {"generator/loss": loss.detach()}

    def critic_step(
        self,
        critic: nn.Module,
        optimizer: torch.optim.Optimizer,
        real: Tensor,
        fake: Tensor,
        noise: Noise,
    ) -> Figures:
        """One update of the critic. Returns the figures before it."""
        figures = self.differentiate(critic, self.critic_loss, real, fake, noise)
        self.world.average_gradients(critic.parameters())
        optimizer.step()
        self.lipschitz.constrain(critic)
        return figures

    def generator_step(
        self, generator: nn.Module, critic: nn.Module, optimizer: torch.optim.Optimizer, latents: Tensor
    ) -> Figures:
        """One update of the generator, in which the critic's parameters take no gradient."""
        critic.requires_grad_(False)
        figures = self.differentiate(generator, self.generator_loss, critic, latents)
        critic.requires_grad_(True)
        self.world.average_gradients(generator.parameters())
        optimizer.step()
        return figures
