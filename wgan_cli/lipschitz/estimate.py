"""The W1 estimate of a critic: gap / largest slope seen. It is an estimate and proves nothing."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from wgan_cli.lipschitz.base import ConditionalCritic, Critic, at_condition
from wgan_cli.lipschitz.slope import between, slopes


@dataclass(frozen=True)
class Estimate:
    """Gap, Lipschitz constant and W1 estimate of a critic between two sets of samples."""

    gap: float
    lipschitz: float
    """The largest slope seen: an estimate of the Lipschitz constant from below."""

    @property
    def w1(self) -> float | None:
        """The W1 estimate, as `w1_estimate` computes it."""
        return w1_estimate(self.gap, self.lipschitz)


def w1_estimate(gap: float, lipschitz: float) -> float | None:
    """gap / Lipschitz constant; None for a critic of slope 0, which gives no estimate."""
    return gap / lipschitz if lipschitz > 0 else None


def largest_slope(
    critic: ConditionalCritic, real: Tensor, fake: Tensor, condition: Tensor | None = None, batch_size: int = 1024
) -> Tensor:
    """The largest slope at the real samples (N, *shape), the fake ones (M, *shape) and points between them: 0-d.

    For the points between, samples are paired in their order (the shorter set is repeated) and mixed with the weights
    t_i = i φ mod 1, where φ is the golden ratio. These weights fill [0, 1] evenly for any number of pairs. They need
    no random numbers, so measuring never changes training. With conditions (N, width), N = M and pair i has condition
    i.
    """
    count = max(len(real), len(fake))
    index = torch.arange(count, device=real.device)
    golden = (1 + math.sqrt(5)) / 2
    t = (torch.arange(count, dtype=torch.float64) * golden % 1).to(real)  # on the CPU, as MPS has no float64
    middle = between(real[index % len(real)], fake[index % len(fake)], t)
    points = torch.cat([real, fake, middle])
    conditions = None if condition is None else torch.cat([condition] * 3)
    steepest = [slopes(bound, part).max() for bound, part in _parts(critic, points, conditions, batch_size)]
    return torch.stack(steepest).max()


def _parts(
    critic: ConditionalCritic, samples: Tensor, condition: Tensor | None, batch_size: int
) -> Iterator[tuple[Critic, Tensor]]:
    """Samples in batches, each with the critic at their conditions."""
    for start in range(0, len(samples), batch_size):
        part = slice(start, start + batch_size)
        yield at_condition(critic, None if condition is None else condition[part]), samples[part]


@torch.no_grad()
def scores_of(
    critic: ConditionalCritic, samples: Tensor, condition: Tensor | None = None, batch_size: int = 1024
) -> Tensor:
    """The critic's scores (N,) of `samples` (N, *shape), at their conditions if any, at least in float32."""
    scores = torch.cat([bound(part) for bound, part in _parts(critic, samples, condition, batch_size)])
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def mean_score(
    critic: ConditionalCritic, samples: Tensor, condition: Tensor | None = None, batch_size: int = 1024
) -> Tensor:
    """The mean of `scores_of`: 0-d."""
    return scores_of(critic, samples, condition, batch_size).mean()


def estimate(critic: ConditionalCritic, real: Tensor, fake: Tensor, condition: Tensor | None = None) -> Estimate:
    """Gap, Lipschitz constant and W1 estimate of a critic between two sets. Put the critic in evaluation mode first."""
    gap = mean_score(critic, real, condition) - mean_score(critic, fake, condition)
    steepest = largest_slope(critic, real, fake, condition)
    values = torch.stack([gap, steepest.to(gap)]).tolist()  # one wait for the device
    return Estimate(*values)
