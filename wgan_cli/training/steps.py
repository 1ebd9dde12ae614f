"""One critic step and one generator step (Gulrajani et al., 2017, algorithm 1).

Nothing here waits for the device: figures stay on it as 0-d tensors until they are logged.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wgan_cli.lipschitz import LipschitzSpec
from wgan_cli.lipschitz.base import Noise, at_condition
from wgan_cli.lipschitz.slope import JointPass
from wgan_cli.objectives import ObjectiveSpec
from wgan_cli.training.distributed import ALONE, World

Figures = dict[str, Tensor]
Network = Callable[..., Tensor]
Loss = Callable[..., tuple[Tensor, Figures]]
"""`loss(network, *others)` returns the loss, a 0-d tensor with a graph, and figures or parts of it without a graph."""
Differentiate = Callable[..., Figures]
"""`differentiate(network, loss, *others)` sets the network's gradients and returns the figures."""


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
    """The type that the networks compute in. The penalty and everything else keep the type of the samples."""
    critic_mixes_samples: bool = False
    """Whether a score depends on the other samples of a pass, so that real and fake samples need separate passes."""
    differentiate: Differentiate = backward
    critic_gives_slopes: bool = False
    """Whether `critic(samples, points)` gives scores and slopes, as of `networks.kinked.Kinked`: that is faster."""

    def cast(self, tensor: Tensor) -> AbstractContextManager[object]:
        """A context in which networks compute in `dtype`. Casts are not cached: a CUDA graph would keep old ones."""
        lower = self.dtype == torch.bfloat16
        return torch.autocast(tensor.device.type, torch.bfloat16, enabled=lower, cache_enabled=False)

    @torch.no_grad()
    def fake(self, generator: nn.Module, inputs: Tensor) -> Tensor:
        """Generated samples (N, *shape) without a graph, for a critic step."""
        with self.cast(inputs):
            return generator(inputs).to(inputs.dtype)

    def critic_loss(
        self, critic: Network, real: Tensor, fake: Tensor, noise: Noise, condition: Tensor | None = None
    ) -> tuple[Tensor, Figures]:
        """The critic's loss on `real` and `fake` (N, *shape), and what `critic_figures` computes figures from.

        `fake` carries no generator graph; `noise` holds the strategy's random numbers. Sample i of real and of fake,
        and the points between them, have condition i of `condition` (N, width), if there are conditions.
        """
        if self.critic_gives_slopes and self.dtype == torch.float32:
            joint = JointPass(critic, real, fake)
            penalty = self.lipschitz.penalty(joint, real, fake, noise)
            real_scores, fake_scores = joint.scores
        else:
            real_scores, fake_scores = self.scores(critic, real, fake, condition)
            penalty = self.lipschitz.penalty(at_condition(critic, condition), real, fake, noise)
        loss = self.objective.critic_loss(real_scores, fake_scores) + penalty
        parts = {"real": real_scores, "fake": fake_scores, "penalty": penalty, "loss": loss}
        return loss, {name: part.detach() for name, part in parts.items()}

    @staticmethod
    def critic_figures(parts: Mapping[str, Tensor]) -> Figures:
        """The figures of a critic step, from the parts of its loss. Only the last step of an iteration needs them."""
        real_score, fake_score = parts["real"].mean(), parts["fake"].mean()
        return {
            "critic/gap": real_score - fake_score,
            "critic/real": real_score,
            "critic/fake": fake_score,
            "critic/penalty": parts["penalty"],
            "critic/loss": parts["loss"],
        }

    def scores(
        self, critic: Network, real: Tensor, fake: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The scores (N,) of real and of fake samples: in one pass, which is faster, if that gives the same result."""
        with self.cast(real):
            if self.critic_mixes_samples:
                scored = at_condition(critic, condition)
                return scored(real).to(real.dtype), scored(fake).to(real.dtype)
            scored = at_condition(critic, None if condition is None else torch.cat([condition, condition]))
            real_scores, fake_scores = scored(torch.cat([real, fake])).to(real.dtype).split(len(real))
        return real_scores, fake_scores

    def generator_loss(
        self,
        generator: Network,
        critic: Network,
        inputs: Tensor,
        condition: Tensor | None = None,
        real: Tensor | None = None,
    ) -> tuple[Tensor, Figures]:
        """The generator's loss on new `inputs` (N, dim), and its figures.

        `real` are samples (N, *shape) with the same conditions, if the objective pairs samples.
        """
        scored = at_condition(critic, condition)
        with self.cast(inputs):
            scores = scored(generator(inputs)).to(inputs.dtype)
            real_scores = None if real is None else scored(real).to(inputs.dtype)
        loss = self.objective.generator_loss(scores, real_scores)
        return loss, {"generator/loss": loss.detach()}

    def critic_step(
        self,
        critic: nn.Module,
        optimizer: torch.optim.Optimizer,
        real: Tensor,
        fake: Tensor,
        noise: Noise,
        condition: Tensor | None = None,
    ) -> Figures:
        """Updates the critic once. The returned parts of its loss, for `critic_figures`, are from before the update."""
        parts = self.differentiate(critic, self.critic_loss, real, fake, noise, condition)
        self.world.average_gradients(critic.parameters())
        optimizer.step()
        self.lipschitz.constrain(critic)
        return parts

    def generator_step(
        self,
        generator: nn.Module,
        critic: nn.Module,
        optimizer: torch.optim.Optimizer,
        inputs: Tensor,
        condition: Tensor | None = None,
        real: Tensor | None = None,
    ) -> Figures:
        """Updates the generator once. The critic's parameters take no gradient."""
        critic.requires_grad_(False)
        figures = self.differentiate(generator, self.generator_loss, critic, inputs, condition, real)
        critic.requires_grad_(True)
        self.world.average_gradients(generator.parameters())
        optimizer.step()
        return figures
