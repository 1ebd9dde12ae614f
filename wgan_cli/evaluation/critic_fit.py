"""A critic trained between two fixed sets of samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from wgan_cli.bars import tracked
from wgan_cli.config.load import load_spec
from wgan_cli.lipschitz import GradientPenalty, Lipschitz, Unbounded
from wgan_cli.lipschitz.bound import Bound, proved
from wgan_cli.lipschitz.estimate import Estimate, estimate
from wgan_cli.networks import Critic, McShaneCritic, MlpCritic
from wgan_cli.networks.average import Average
from wgan_cli.networks.kinked import Kinked
from wgan_cli.networks.pair import build_critic, pairing_fault, proves_gap
from wgan_cli.objectives import Wasserstein
from wgan_cli.optimizers import Adam, Optimizer, set_rate
from wgan_cli.paths import expanded
from wgan_cli.spec import Spec
from wgan_cli.training.steps import Steps
from wgan_cli.transport.confidence import CONFIDENCE


class CriticFit(Spec):
    """The network, strategy and training of a critic between two fixed sets.

    The default is for a network of one's own. Its weight of the penalty is large: with weight 10, the slope exceeds its
    target by up to a quarter at some points, and the estimate is too small by as much. A small weight has no advantage
    here, because no generator has to follow the critic.
    """

    critic: Critic = MlpCritic(hidden=(128, 128), activation="leaky_relu")
    lipschitz: Lipschitz = GradientPenalty(weight=1000.0, sided="one")
    optimizer: Optimizer = Adam(lr=1e-3, betas=(0.0, 0.9), decay="linear")
    steps: int = Field(default=5000, ge=1)
    batch_size: int = Field(default=512, ge=2)
    average: float = Field(default=0.99, gt=0, lt=1)
    """Decay of the averaged weights. The critic with these weights is measured."""
    spread: float = Field(default=1.0, gt=0)
    """Both sets are scaled together to this standard deviation of their values. For `clip`, use a small one: the biases
    are clipped like the weights, and can then still move the kink of each unit beyond all points, as a linear critic
    needs."""

    @model_validator(mode="after")
    def _check_pairing(self) -> Self:
        fault = pairing_fault(self.critic, self.lipschitz)
        if fault is not None:
            raise ValueError(f"critic.{fault[0]}: {fault[1]}")
        return self


def _mcshane(anchors: int, temperature: float, rate: float) -> CriticFit:
    return CriticFit(
        critic=McShaneCritic(anchors=anchors, temperature=temperature),
        lipschitz=Unbounded(),
        optimizer=Adam(lr=rate, betas=(0.5, 0.99), decay="linear"),
        steps=2000,
    )


FITS = (_mcshane(512, 0.02, 0.03), _mcshane(512, 0.2, 0.03), _mcshane(256, 0.2, 0.01))
"""Tried where no fit is given. Fine structure in few dimensions needs a low temperature. In many dimensions a high one,
fewer anchors and a small rate keep the critic from learning the samples by heart."""


def load_fits(path: str | None) -> tuple[CriticFit, ...]:
    """Reads the critic's YAML file with the checks of a run's config. Without a `path`, returns `FITS`."""
    return FITS if path is None else (load_spec(expanded(path), CriticFit),)


@dataclass(frozen=True)
class Fitted:
    """A critic g trained between two sets, of points that are shifted and divided by one unit s.

    In the points' own unit the critic is f(x) = s · g(x / s), which has the slopes of g.
    """

    critic: nn.Module
    centre: Tensor
    """(D,)"""
    unit: Tensor
    """0-d"""
    proves_gap: bool
    """Whether the critic has slope at most 1 by construction."""
    fit: CriticFit
    """What it was trained by."""

    def scaled(self, points: Tensor) -> Tensor:
        """The critic's input (N, D) for points (N, D)."""
        return ((points - self.centre) / self.unit).float()

    def estimate(self, x: Tensor, y: Tensor) -> Estimate:
        """Gap, Lipschitz constant and W1 estimate between x (N, D) and y (M, D), in their unit."""
        found = estimate(self.critic, self.scaled(x), self.scaled(y))
        return Estimate(found.gap * self.unit.item(), found.lipschitz)

    def proved(self, chosen: Sequence[Tensor], judged: Sequence[Tensor], confidence: float) -> Bound:
        """What the critic proves of W1, in the points' unit: see `lipschitz.bound.proved`."""
        sets = [[self.scaled(points) for points in pair] for pair in (chosen, judged)]
        unit = self.unit.item()
        found = proved(self.critic, sets[0], sets[1], confidence, gap_counts=self.proves_gap)
        return replace(found, low=unit * found.low, difference=unit * found.difference, error=unit * found.error)


def best_fitted(x: Tensor, y: Tensor, fits: Sequence[CriticFit], seed: int) -> Fitted:
    """The critic that proves most, of one for each fit, trained to score x (N, D) high and y (M, D) low.

    A fifth of the points takes no part in training, and only chooses. If there is nothing to choose, all points train.
    Points must be in random order.
    """
    if len(fits) == 1:
        return fitted(x, y, fits[0], seed)
    parts = [points.tensor_split([max(len(points) // 5, 2)]) for points in (x, y)]
    choosing, training = [first for first, _ in parts], [rest for _, rest in parts]
    critics = [
        fitted(training[0], training[1], fit, seed, f"critic {number} of {len(fits)}")
        for number, fit in enumerate(fits, start=1)
    ]
    bounds = [critic.proved(training, choosing, CONFIDENCE) for critic in critics]
    # Where nothing is proved, the limits are all 0, and the differences still tell which critic sees most.
    best = max(range(len(fits)), key=lambda i: (bounds[i].low, bounds[i].difference))
    return critics[best]


def fitted(x: Tensor, y: Tensor, fit: CriticFit, seed: int, what: str = "critic") -> Fitted:
    """A critic trained to score x (N, D) high and y (M, D) low, while progress is shown under the name `what`."""
    pooled = torch.cat([x, y])
    centre = pooled.mean(0)
    unit = ((pooled - centre).square().mean().sqrt() / fit.spread).clamp_min(1e-300)
    high, low = (((points - centre) / unit).float() for points in (x, y))
    return Fitted(fitted_critic(high, low, fit, seed, what), centre, unit, proves_gap(fit.critic, fit.lipschitz), fit)


def fitted_critic(x: Tensor, y: Tensor, fit: CriticFit, seed: int, what: str = "critic") -> nn.Module:
    """A critic trained to score x (N, D) high and y (M, D) low: with averaged weights, in evaluation mode."""
    generator = torch.Generator(x.device).manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
        torch.manual_seed(seed)
        critic = build_critic(fit.critic, fit.lipschitz, tuple(x.shape[1:])).to(x.device)
    fit.critic.begin_between(critic, x, y, generator)
    optimizer = fit.optimizer.build(critic.parameters())
    average = Average(critic, fit.average)
    steps = Steps(
        Wasserstein(),
        fit.lipschitz,
        critic_mixes_samples=bool(fit.critic.mixes_samples),
        critic_gives_slopes=isinstance(critic, Kinked),
    )
    for step in tracked(range(fit.steps), what):
        set_rate(optimizer, fit.optimizer.rate(step, fit.steps))
        high, low = (draw(points, fit.batch_size, generator) for points in (x, y))
        noise = fit.lipschitz.noise(fit.batch_size, tuple(x.shape[1:]), generator)
        steps.critic_step(critic, optimizer, high, low, noise)
        average.update(critic)
    return average.module


def draw(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draws `count` of the points (N, D), with replacement: (count, D)."""
    return points[torch.randint(len(points), (count,), generator=generator, device=points.device)]
