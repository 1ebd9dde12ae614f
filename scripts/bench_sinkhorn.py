"""Time `sinkhorn` beside POT's log-domain Sinkhorn on torch: 64 problems of 256 points in the plane, CPU.

    python scripts/bench_sinkhorn.py [--rounds 3] [--epsilon 0.05] [--tolerance 1e-5] [--dtype float32]

All stop at the same tolerance. POT takes it for the Euclidean norm of the marginal error, `sinkhorn` for the
sum of absolute errors, which is never smaller: the costs agree as far as POT has converged. They take
turns, so that a busy machine slows all equally.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import ot
import torch
from torch import Tensor

from wgan_cli.transport import sinkhorn

ENOUGH = 1_000_000  # iterations: the tolerance ends every solver


def main() -> None:
    arguments = parse_arguments()
    dtype = getattr(torch, arguments.dtype)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 256, 2, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randn(64, 256, 2, generator=generator, dtype=torch.float64).to(dtype)
    epsilon, tolerance = arguments.epsilon, arguments.tolerance

    def pot_looped() -> Tensor:
        costs = []
        for cloud, other in zip(x, y, strict=True):
            matrix = ot.dist(cloud, other)
            options = {"method": "sinkhorn_log", "stopThr": tolerance, "numItermax": ENOUGH}
            plan = ot.sinkhorn([], [], matrix, epsilon, **options)
            costs.append((plan * matrix).sum())
        return torch.stack(costs)

    def pot_batched() -> Tensor:
        matrices = torch.cdist(x, y) ** 2
        solved = ot.batch.solve_batch(
            matrices, epsilon, max_iter=ENOUGH, tol=tolerance, method="log_sinkhorn", grad="detach"
        )
        return solved.value_linear

    def wgan() -> Tensor:
        return sinkhorn(x, y, epsilon, tolerance=tolerance, max_iterations=ENOUGH).cost

    report({"wgan sinkhorn": wgan, "POT, looped": pot_looped, "POT, batched": pot_batched}, arguments.rounds)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="sinkhorn beside POT's, 64 problems of 256 points")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epsilon", type=float, default=0.05)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    return parser.parse_args()


def report(solvers: dict[str, Callable[[], Tensor]], rounds: int) -> None:
    """Medians of interleaved rounds, each beside the first solver's, and how far the costs are apart."""
    seconds: dict[str, list[float]] = {name: [] for name in solvers}
    costs: dict[str, Tensor] = {}
    for _ in range(rounds):
        for name, solve in solvers.items():
            start = time.perf_counter()
            costs[name] = solve()
            seconds[name].append(time.perf_counter() - start)
    first = next(iter(solvers))
    print(f"{'solver':<16}{'median s':>10}{'times first':>13}{'cost, relative difference':>27}")
    for name, times in seconds.items():
        ratio = statistics.median(times) / statistics.median(seconds[first])
        apart = ((costs[name] - costs[first]) / costs[first]).abs().max().item()
        print(f"{name:<16}{statistics.median(times):>10.3f}{ratio:>13.1f}{apart:>27.1e}")


if __name__ == "__main__":
    main()
