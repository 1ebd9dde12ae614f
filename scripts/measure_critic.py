"""Measures a critic's W1 estimate, gap / Lipschitz constant, against exact W1, both as `wgan distance` gives them.

    python scripts/measure_critic.py --seeds 5

On pairs of normals on the line (20,000 samples each) under the one-sided penalty (the default), clipping and the
two-sided penalty, and on normals in 2, 16 and 64 dimensions that differ by a shift (the truth is its length).
Prints the ratio of estimate to truth: median, least and greatest over the seeds.
"""

import argparse
import statistics

import torch
from torch import Tensor

from wgan_cli.evaluation.critic_fit import CriticFit
from wgan_cli.evaluation.distances import Problem, measure
from wgan_cli.lipschitz import Clip, GradientPenalty
from wgan_cli.networks import MlpCritic
from wgan_cli.optimizers import RmsProp

PAIRS = ((3.0, 1.0), (0.3, 1.0), (0.0, 2.0), (1.0, 0.5))
STRATEGIES = {
    "gp, one-sided": CriticFit(),
    "clip": CriticFit(
        critic=MlpCritic(hidden=(512,), activation="relu"),
        lipschitz=Clip(bound=0.1),
        optimizer=RmsProp(lr=5e-4, decay="linear"),
        spread=0.4,
    ),
    "gp, two-sided": CriticFit(lipschitz=GradientPenalty(weight=10.0, sided="two")),
}
SHIFT = 2.0


def normals(seed: int, count: int, features: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1000 + seed)
    x, y = torch.randn(2, count, features, generator=generator, dtype=torch.float64)
    return x, y


def row(name: str, ratios: list[float]) -> None:
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    print(f"{name:44} median {middle:.3f}, least {low:.3f}, greatest {high:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--strategy", choices=STRATEGIES, action="append", help="only this one; may be given again")
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    chosen = arguments.strategy or list(STRATEGIES)
    for features in (2, 16, 64) if "gp, one-sided" in chosen else ():
        ratios = []
        for seed in seeds:
            x, y = normals(seed, 5000, features)
            problem = Problem(x, y + SHIFT / features**0.5, seed=seed)
            ratios.append(float(measure(problem, "critic").figures["w1_estimate"]) / SHIFT)
        row(f"shift by {SHIFT:g} in {features} dimensions, gp, one-sided", ratios)
    for name, fit in ((name, STRATEGIES[name]) for name in chosen):
        for mean, std in PAIRS:
            ratios = []
            for seed in seeds:
                x, y = normals(seed, 20_000, 1)
                problem = Problem(x, y * std + mean, seed=seed, fit=fit)
                truth = measure(problem, "1d").figures["w1"]
                ratios.append(float(measure(problem, "critic").figures["w1_estimate"]) / float(truth))
            row(f"N(0, 1) to N({mean:g}, {std:g}²), {name}", ratios)


if __name__ == "__main__":
    main()
