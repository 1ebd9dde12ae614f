"""Counts how often the limits of `wgan distance --method bounds` hold the true W1 between them.

    python scripts/measure_bounds.py --draws 200

For each pair of distributions with known W1, one critic is trained on samples of its own. Then each draw takes new
anchors, new samples to judge by and new batches. Each limit promises to be right in 95 % of the draws. Prints the share
of draws in which each limit is right, and both are, and the mean of each limit divided by W1; of the lower one also as
the critic and as the plan alone prove it.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from funnels import Funnels
from torch import Tensor

from wgan_cli.evaluation.critic_fit import FITS, best_fitted
from wgan_cli.evaluation.distances import lower_limits
from wgan_cli.transport import upper_bound

Draw = Callable[[int], tuple[Tensor, Tensor]]
"""Of a seed: samples of both sides."""
TRAINED, COUNT = 20_000, 3000
"""Samples of each side: to train a critic on, and of a draw, a third of which judge."""


def normals(shift: float, std: float, dim: int) -> tuple[Draw, float]:
    """N(0, 1) and N(shift, std²), independent in each dimension, `shift` apart in all, and W1."""

    def draw(seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        count = TRAINED if seed == 0 else COUNT
        x, y = torch.randn(2, count, dim, generator=generator, dtype=torch.float64)
        return y * std + shift / dim**0.5, x

    # For equal means on the line, the optimal map is x -> std x, so W1 = |std − 1| E|x|.
    return draw, shift if std == 1 else abs(std - 1) * (2 / torch.pi) ** 0.5


def funnels(dim: int, count: int) -> tuple[Draw, float]:
    pair = Funnels.draw(count, dim, seed=0)

    def draw(seed: int) -> tuple[Tensor, Tensor]:
        return pair.sample(TRAINED if seed == 0 else COUNT, 1000 + seed)[:2]

    return draw, pair.sample(500_000, 1)[2]


PAIRS: dict[str, Callable[[], tuple[Draw, float]]] = {
    "N(0, 1) to N(3, 1)": lambda: normals(3.0, 1.0, 1),
    "N(0, 1) to N(0, 2²)": lambda: normals(0.0, 2.0, 1),
    "shift by 2 in 2 dimensions": lambda: normals(2.0, 1.0, 2),
    "shift by 2 in 16 dimensions": lambda: normals(2.0, 1.0, 16),
    "shift by 2 in 64 dimensions": lambda: normals(2.0, 1.0, 64),
    "64 funnels in 2 dimensions": lambda: funnels(2, 64),
    "64 funnels in 16 dimensions": lambda: funnels(16, 64),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    arguments = parser.parse_args()
    columns = f"{'pair':30} {'low right':>9} {'high right':>10} {'both':>6} {'low / W1':>8} {'high / W1':>9}"
    print(f"{columns} {'critic':>6} {'plan':>6}", flush=True)
    for name, build in PAIRS.items():
        begun = time.perf_counter()
        draw, truth = build()
        critic = best_fitted(*draw(0), FITS, seed=0)
        by_critic, by_plan, lows, highs = [], [], [], []
        for seed in range(1, arguments.draws + 1):
            x, y = draw(seed)
            third = COUNT // 3
            chosen, judged = [x[third:], y[third:]], [x[:third], y[:third]]
            limits = lower_limits(critic, chosen, judged, 0.95)
            by_critic.append(limits["critic"].low)
            by_plan.append(limits["plan"].low)
            lows.append(max(by_critic[-1], by_plan[-1]))
            highs.append(upper_bound(x, y, 0.95).high)
        shares = [
            statistics.mean(right)
            for right in (
                [low <= truth for low in lows],
                [truth <= high for high in highs],
                [low <= truth <= high for low, high in zip(lows, highs, strict=True)],
            )
        ]
        means = [statistics.mean(values) / truth for values in (lows, highs, by_critic, by_plan)]
        print(
            f"{name:30} {shares[0]:9.1%} {shares[1]:10.1%} {shares[2]:6.1%} {means[0]:8.2f} {means[1]:9.2f}"
            f" {means[2]:6.2f} {means[3]:6.2f}"
            f"   W1 {truth:.4g}, {time.perf_counter() - begun:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
