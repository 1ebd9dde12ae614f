"""An upper bound of W1 between two distributions, from samples of each."""

from dataclasses import dataclass

import torch
from torch import Tensor

from wgan_cli.transport.confidence import CONFIDENCE, t_quantile
from wgan_cli.transport.discrete import exact_wasserstein
from wgan_cli.transport.line import wasserstein_1d

BATCHES = 10
BATCH_SIZE = 1000
"""At most: the time of an exact distance grows faster than the square of it."""


@dataclass(frozen=True)
class UpperBound:
    """A confidence limit of W1, and what it rests on."""

    high: float
    """With the confidence asked for, W1 is smaller."""
    mean: float
    """The mean distance between batches, which the limit is above."""
    batches: int
    batch_size: int


def upper_bound(x: Tensor, y: Tensor, confidence: float = CONFIDENCE) -> UpperBound:
    """An upper confidence limit of W1 between the distributions that x (N, D) and y (M, D) are independent draws of.

    W1 between two batches of independent samples has an expectation above W1, because W1 is convex in both measures
    (Jensen). So the mean over disjoint pairs of batches bounds W1 from above, up to the error of the mean: its limit is
    Student's. That needs nearly normal means: rare extremes, which most batches miss, make it false. More samples in a
    batch bring the expectation nearer to W1. The order of the samples must not depend on their values. Raises
    ValueError for fewer than four samples of each.
    """
    most = min(len(x), len(y))
    if most < 4:
        raise ValueError("an upper bound of W1 needs at least four samples of each set, for two batches of two")
    batches = min(BATCHES, most // 2)
    size = min(most // batches, BATCH_SIZE if x.shape[1] > 1 else most)
    count = min(most // size, BATCHES)
    distances = [_distance(x[start : start + size], y[start : start + size]) for start in range(0, count * size, size)]
    values = torch.tensor(distances, dtype=torch.float64)
    error = values.std().item() / count**0.5
    return UpperBound(
        values.mean().item() + t_quantile(confidence, count - 1) * error, values.mean().item(), count, size
    )


def _distance(x: Tensor, y: Tensor) -> float:
    return (wasserstein_1d(x[:, 0], y[:, 0]) if x.shape[1] == 1 else exact_wasserstein(x, y)).item()
