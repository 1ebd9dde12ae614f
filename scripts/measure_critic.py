"""Measures a critic's W1 estimate, gap / Lipschitz constant, against exact W1, both as `wgan distance` gives them.

    python scripts/measure_critic.py --seeds 5
    python scripts/measure_critic.py --funnels

On pairs of normals on the line (20,000 samples each) by the default critic, under the one-sided penalty, clipping and
the two-sided penalty, and on normals in 2, 16 and 64 dimensions that differ by a shift (the truth is its length).
Prints the ratio of estimate to truth: median, least and greatest over the seeds.

`--funnels` takes 28 pairs of known W1 and slopes in 2 to 128 dimensions in their place: see `funnels.py`. A third of
100,000 samples of each side judges what the default critic proves, the rest trains it.
"""

import argparse
import statistics
import time
from itertools import product

import torch
from funnels import Funnels
from torch import Tensor

from wgan_cli.evaluation.critic_fit import FITS, CriticFit, Fitted, best_fitted
from wgan_cli.evaluation.distances import Problem, lower_limits, measure
from wgan_cli.lipschitz import Clip, GradientPenalty
from wgan_cli.networks import MlpCritic
from wgan_cli.optimizers import RmsProp

PAIRS = ((3.0, 1.0), (0.3, 1.0), (0.0, 2.0), (1.0, 0.5))
STRATEGIES = {
    "the default": FITS,
    "gp, one-sided": (CriticFit(),),
    "clip": (
        CriticFit(
            critic=MlpCritic(hidden=(512,), activation="relu"),
            lipschitz=Clip(bound=0.1),
            optimizer=RmsProp(lr=5e-4, decay="linear"),
            spread=0.4,
        ),
    ),
    "gp, two-sided": (CriticFit(lipschitz=GradientPenalty(weight=10.0, sided="two")),),
}
SHIFT = 2.0


def normals(seed: int, count: int, features: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1000 + seed)
    x, y = torch.randn(2, count, features, generator=generator, dtype=torch.float64)
    return x, y


def row(name: str, ratios: list[float]) -> None:
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"{name:44} median {middle:.3f}, least {low:.3f}, greatest {high:.3f}", flush=True)


def cosine(critic: Fitted, pair: Funnels, points: Tensor) -> float:
    """The mean cosine between the slopes of the critic and of the best one, at the points (N, D)."""
    scaled = critic.scaled(points).requires_grad_()
    (slopes,) = torch.autograd.grad(critic.critic(scaled).sum(), scaled)
    return torch.nn.functional.cosine_similarity(slopes.double(), pair.slopes(points)).mean().item()


def measure_funnels(dim: int, count: int) -> dict[str, float]:
    """Figures of one pair, 100,000 samples a side."""
    pair = Funnels.draw(count, dim, seed=1000 * dim + count)
    x, y, truth = pair.sample(100_000, seed=1)
    judged, rest = ([side[part] for side in (x, y)] for part in (slice(33_333), slice(33_333, None)))
    start = time.perf_counter()
    critic = best_fitted(rest[0], rest[1], FITS, seed=0)
    spent = time.perf_counter() - start
    low = {name: bound.low / truth for name, bound in lower_limits(critic, rest, judged, 0.95).items()}
    return {
        "W1": truth,
        "estimate / W1": critic.estimate(x, y).gap / truth,
        "judged": critic.estimate(*judged).gap / truth,
        "cosine": cosine(critic, pair, judged[1][:4096]),
        "low / W1": max(low.values()),
        "by critic": low["critic"],
        "by plan": low["plan"],
        "temperature": critic.fit.critic.temperature,
        "s": spent,
    }


def print_funnels(dims: list[int], counts: list[int]) -> None:
    rows = []
    for dim, count in product(dims, counts):
        rows.append(figures := measure_funnels(dim, count))
        print(f"{dim} x {count}: " + ", ".join(f"{name} {value:.3g}" for name, value in figures.items()), flush=True)
    print("means: " + ", ".join(f"{name} {statistics.mean(row[name] for row in rows):.3f}" for name in rows[0]))
    errors = [abs(row["estimate / W1"] - 1) * row["W1"] for row in rows]
    print(f"mean |estimate - W1| {statistics.mean(errors):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--strategy", choices=STRATEGIES, action="append", help="only this one; may be given again")
    parser.add_argument("--funnels", action="store_true", help="the 28 pairs of funnels")
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--counts", type=int, nargs="+", default=[4, 16, 64, 256])
    arguments = parser.parse_args()
    if arguments.funnels:
        print_funnels(arguments.dims, arguments.counts)
        return
    seeds = range(arguments.seeds)
    chosen = arguments.strategy or list(STRATEGIES)
    for features in (2, 16, 64) if "the default" in chosen else ():
        ratios = []
        for seed in seeds:
            x, y = normals(seed, 5000, features)
            problem = Problem(x, y + SHIFT / features**0.5, seed=seed)
            ratios.append(float(measure(problem, "critic").figures["w1_estimate"]) / SHIFT)
        row(f"shift by {SHIFT:g} in {features} dimensions, the default", ratios)
    for name, fits in ((name, STRATEGIES[name]) for name in chosen):
        for mean, std in PAIRS:
            ratios = []
            for seed in seeds:
                x, y = normals(seed, 20_000, 1)
                problem = Problem(x, y * std + mean, seed=seed, fits=fits)
                truth = measure(problem, "1d").figures["w1"]
                ratios.append(float(measure(problem, "critic").figures["w1_estimate"]) / float(truth))
            row(f"N(0, 1) to N({mean:g}, {std:g}²), {name}", ratios)


if __name__ == "__main__":
    main()
