"""The mathematics of one critic step and one generator step (Gulrajani et al., 2017, algorithm 1).

Nothing here waits for the device: figures are 0-d tensors on it, and are read when they are logged.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wgan_cli.distributed import ALONE, World
from wgan_cli.lipschitz import LipschitzSpec
from wgan_cli.objectives import ObjectiveSpec

Figures = dict[str, Tensor]


@dataclass(frozen=True)
class Mathematics:
    """What is minimised, what keeps the critic Lipschitz, and the ranks that share each batch."""

    objective: ObjectiveSpec
    lipschitz: LipschitzSpec
    world: World = ALONE

    def critic_step(
        self,
        critic: nn.Module,
        optimizer: torch.optim.Optimizer,
        real: Tensor,
        fake: Tensor,
        uniform: Tensor,
    ) -> Figures:
        """One update of the critic on `real` and `fake` (N, *shape); `fake` carries no generator graph.

        `uniform` (N,) are the penalty's random numbers. Returns the figures before the update.
        """
        real_scores, fake_scores = critic(real), critic(fake)
        penalty = self.lipschitz.penalty(critic, real, fake, uniform)
        loss = self.objective.critic_loss(real_scores, fake_scores) + penalty
        optimizer.zero_grad()
        loss.backward()  # one backward over the whole loss
        self.world.average_gradients(critic.parameters())
        optimizer.step()
        self.lipschitz.constrain(critic)
        real_score, fake_score = real_scores.detach().mean(), fake_scores.detach().mean()
        return {
            "critic/gap": real_score - fake_score,
            "critic/real": real_score,
            "critic/fake": fake_score,
            "critic/penalty": penalty.detach(),
            "critic/loss": loss.detach(),
        }

    def generator_step(
        self, generator: nn.Module, critic: nn.Module, optimizer: torch.optim.Optimizer, latents: Tensor
    ) -> Figures:
        """One update of the generator; the critic's parameters take no gradient from it."""
        critic.requires_grad_(False)
        loss = self.objective.generator_loss(critic(generator(latents)))
        optimizer.zero_grad()
        loss.backward()
        self.world.average_gradients(generator.parameters())
        optimizer.step()
        critic.requires_grad_(True)
        return {"generator/loss": loss.detach()}
