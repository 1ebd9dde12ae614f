"""The W1 estimate of a critic: gap / largest slope seen. It is an estimate and proves nothing."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wgan_cli.lipschitz.base import Critic
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


def largest_slope(critic: Critic, real: Tensor, fake: Tensor, batch_size: int = 1024) -> Tensor:
    """The largest slope at the real samples (N, *shape), the fake ones (M, *shape) and points between them: 0-d.

    For the points between, samples are paired in their order (the shorter set is repeated) and mixed with the weights
    t_i = i φ mod 1, where φ is the golden ratio. These weights fill [0, 1] evenly for any number of pairs. They need
    no random numbers, so measuring never changes training.
    """
    count = max(len(real), len(fake))
    index = torch.arange(count, device=real.device)
    golden = (1 + math.sqrt(5)) / 2
    t = (torch.arange(count, dtype=torch.float64) * golden % 1).to(real)  # on the CPU, as MPS has no float64
    middle = between(real[index % len(real)], fake[index % len(fake)], t)
    parts = torch.cat([real, fake, middle]).split(batch_size)
    return torch.stack([slopes(critic, part).max() for part in parts]).max()


@torch.no_grad()
def mean_score(critic: Critic, samples: Tensor, batch_size: int = 1024) -> Tensor:
    """The mean of the critic's scores of `samples` (N, *shape): 0-d, at least float32."""
    scores = torch.cat([critic(part) for part in samples.split(batch_size)])
    return scores.to(torch.promote_types(scores.dtype, torch.float32)).mean()


def estimate(critic: Critic, real: Tensor, fake: Tensor) -> Estimate:
    """Gap, Lipschitz constant and W1 estimate of a critic between two sets. Put the critic in evaluation mode first."""
    gap = mean_score(critic, real) - mean_score(critic, fake)
    values = torch.stack([gap, largest_slope(critic, real, fake).to(gap)]).tolist()  # one wait for the device
    return Estimate(*values)
