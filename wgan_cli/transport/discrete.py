"""Exact transport between weighted points, by the network simplex of POT."""

import warnings
from typing import Any

import torch
from torch import Tensor

from wgan_cli.transport.checks import check_memory, check_order, check_problem
from wgan_cli.transport.costs import masses, power_mean, quick_distances

# The limit of pivots of the network simplex. Clouds that fit in memory need far fewer.
SIMPLEX_ITERATIONS = 100_000_000
# The measured number of float64 matrices (n, m) in memory at the same time, including those of POT.
SIMPLEX_MATRICES = 7


def exact_wasserstein(
    x: Tensor, y: Tensor, p: float = 1, x_weights: Tensor | None = None, y_weights: Tensor | None = None
) -> Tensor:
    """Exact W_p between clouds, (min over plans P of Σ P_ij ‖xi − yj‖^p)^(1/p), in the unit of the points.

    x (..., n, D), y (..., m, D), weights (..., n) and (..., m) give (...). The network simplex of POT solves one
    problem at a time, on the CPU in float64, for tensors on any device. The gradient is that of the cost under
    the fixed optimal plan (envelope theorem); weights get no gradient. RuntimeError if the solver does not finish.
    """
    check_order(p)
    batch = check_problem(x, y, x_weights, y_weights, point_dims=2)
    n, m = x.shape[-2], y.shape[-2]
    check_memory("exact_wasserstein", SIMPLEX_MATRICES * 8 * n * m, torch.device("cpu"))
    x_flat = x.expand(*batch, -1, -1).reshape(-1, *x.shape[-2:])
    y_flat = y.expand(*batch, -1, -1).reshape(-1, *y.shape[-2:])
    x_mass = masses(x_weights, x, batch).reshape(-1, n)
    y_mass = masses(y_weights, y, batch).reshape(-1, m)

    found = []
    for problem in range(len(x_flat)):
        i, j, mass = _optimal_pairs(x_flat[problem], y_flat[problem], x_mass[problem], y_mass[problem], p)
        differences = (x_flat[problem, i] - y_flat[problem, j]).cpu().double()  # in this order: MPS has no float64
        found.append(power_mean(torch.linalg.vector_norm(differences, dim=-1), mass, p))
    return torch.stack(found).reshape(batch).to(x)


def exact_plan(x: Tensor, y: Tensor, p: float = 1) -> Tensor:
    """The optimal plan of `exact_wasserstein`, (n, m): the mass moved from each of x (n, D) to each of y (m, D).

    On the line, where many plans may cost as much, it is the monotone one: of the quantiles of x to those of y.
    """
    check_order(p)
    batch = check_problem(x, y, None, None, point_dims=2)
    if batch:
        raise ValueError("x and y must be one problem, (n, D) and (m, D), to have one plan")
    check_memory("exact_plan", SIMPLEX_MATRICES * 8 * len(x) * len(y), torch.device("cpu"))
    if x.shape[1] == 1:
        import ot

        line = (points[:, 0].detach().cpu().double().numpy() for points in (x, y))
        return torch.from_numpy(ot.emd_1d(*line, metric="minkowski", p=p)).to(x)
    i, j, mass = _optimal_pairs(x, y, masses(None, x, batch), masses(None, y, batch), p)
    return x.new_zeros(len(x), len(y)).index_put((i, j), mass.to(x))


def dual_potentials(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The solution of the dual of W1 between x (n, D) and y (m, D): values f (n,) at x and g (m,) at y, in float64 on
    the CPU.

    f_i − g_j ≤ ‖x_i − y_j‖ for all pairs, and mean f − mean g = W1 (Kantorovich and Rubinstein): the scores of the best
    critic, at the points alone. Errors as in `exact_plan`.
    """
    batch = check_problem(x, y, None, None, point_dims=2)
    if batch:
        raise ValueError("x and y must be one problem, (n, D) and (m, D), to have one pair of potentials")
    check_memory("dual_potentials", SIMPLEX_MATRICES * 8 * len(x) * len(y), torch.device("cpu"))
    _, log, unit = _solved(x, y, masses(None, x, batch), masses(None, y, batch), 1)
    f, g = (unit * torch.from_numpy(sign * log[name]) for sign, name in ((1, "u"), (-1, "v")))
    return f, g


def _optimal_pairs(x: Tensor, y: Tensor, x_mass: Tensor, y_mass: Tensor, p: float) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs (i, j) between which an optimal plan moves mass, at most n + m − 1: tensors i and j on the points'
    device, and masses in float64 on the CPU."""
    plan, _, _ = _solved(x, y, x_mass, y_mass, p)
    i, j = plan.nonzero()
    rows, columns = (torch.from_numpy(array).to(x.device) for array in (i, j))
    return rows, columns, torch.from_numpy(plan[i, j])


def _solved(x: Tensor, y: Tensor, x_mass: Tensor, y_mass: Tensor, p: float) -> tuple[Any, dict[str, Any], float]:
    """POT's plan (n, m), its log, and the largest distance, which costs were divided by before the power."""
    import ot  # takes a second to import

    def to_cpu(tensor: Tensor) -> Tensor:
        return tensor.detach().cpu().double()  # in this order: MPS has no float64

    lengths = quick_distances(to_cpu(x), to_cpu(y))
    # The simplex compares costs with an absolute tolerance, so they are scaled to a maximum of 1.
    largest = lengths.max().clamp_min(torch.finfo(torch.float64).tiny)
    costs = (lengths / largest) ** p
    # Normalised again, because masses with sum 1 in float32 have another sum in float64.
    a, b = (to_cpu(mass) / to_cpu(mass).sum() for mass in (x_mass, y_mass))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the log holds the same warning, which is raised as an error below
        plan, log = ot.emd(a.numpy(), b.numpy(), costs.numpy(), numItermax=SIMPLEX_ITERATIONS, log=True)
    if log["warning"]:
        raise RuntimeError(f"the exact solver did not finish: {' '.join(str(log['warning']).split())}")
    return plan, log, largest.item()
