"""Exact transport between weighted points, by POT's network simplex."""

import warnings

import torch
from torch import Tensor

from wgan_cli.transport.shared import check_memory, check_order, check_problem, masses, power_mean

# Pivots of the network simplex: far more than clouds that fit in memory need.
SIMPLEX_ITERATIONS = 100_000_000
# Float64 matrices of n by m that live at once, POT's own included: measured.
SIMPLEX_MATRICES = 7


def exact_wasserstein(
    x: Tensor, y: Tensor, p: float = 1, x_weights: Tensor | None = None, y_weights: Tensor | None = None
) -> Tensor:
    """Exact W_p between clouds, (min over plans P of Σ P_ij ‖xi − yj‖^p)^(1/p), in the points' unit.

    x (..., n, D), y (..., m, D), weights (..., n) and (..., m) give (...). POT's network simplex solves one
    problem at a time, on the CPU in float64, whatever the device. The gradient is that of the cost with the
    optimal plan held fixed (envelope theorem); weights take none. RuntimeError where the solver gives up.
    """
    check_order(p)
    x_weights, y_weights, batch = check_problem(x, y, x_weights, y_weights, point_dims=2)
    n, m = x.shape[-2], y.shape[-2]
    check_memory("exact_wasserstein", SIMPLEX_MATRICES * 8 * n * m, torch.device("cpu"))
    x_flat = x.expand(*batch, -1, -1).reshape(-1, *x.shape[-2:])
    y_flat = y.expand(*batch, -1, -1).reshape(-1, *y.shape[-2:])
    x_mass = masses(x_weights, x, batch).reshape(-1, n)
    y_mass = masses(y_weights, y, batch).reshape(-1, m)

    distances = []
    for problem in range(len(x_flat)):
        i, j, mass = _optimal_pairs(x_flat[problem], y_flat[problem], x_mass[problem], y_mass[problem], p)
        lengths = torch.linalg.vector_norm((x_flat[problem, i] - y_flat[problem, j]).double(), dim=-1)
        distances.append(power_mean(lengths, mass, p))
    return torch.stack(distances).reshape(batch).to(x.dtype)


def exact_plan(x: Tensor, y: Tensor, p: float = 1) -> Tensor:
    """The plan that `exact_wasserstein` prices: mass moved from each of x (n, D) to each of y (m, D), (n, m)."""
    check_order(p)
    x_weights, y_weights, batch = check_problem(x, y, None, None, point_dims=2)
    if batch:
        raise ValueError("x and y must be one problem, (n, D) and (m, D), to have one plan")
    check_memory("exact_plan", SIMPLEX_MATRICES * 8 * len(x) * len(y), torch.device("cpu"))
    i, j, mass = _optimal_pairs(x, y, masses(x_weights, x, batch), masses(y_weights, y, batch), p)
    return x.new_zeros(len(x), len(y)).index_put((i, j), mass.to(x.dtype))


def _optimal_pairs(
    x: Tensor,
    y: Tensor,
    x_mass: Tensor,
    y_mass: Tensor,
    p: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The support of an optimal plan, at most n + m − 1 pairs: indices into x, into y, and the mass moved."""
    import ot  # takes a second to import

    def to_cpu(tensor: Tensor) -> Tensor:
        return tensor.detach().to("cpu", torch.float64)

    lengths = torch.cdist(to_cpu(x), to_cpu(y), compute_mode="donot_use_mm_for_euclid_dist")
    # The simplex compares costs with an absolute slack, so they are given to it with maximum 1.
    costs = (lengths / lengths.max().clamp_min(torch.finfo(torch.float64).tiny)) ** p
    # Normalised again: masses that sum to 1 in float32 do not in float64.
    masses = [to_cpu(mass) / to_cpu(mass).sum() for mass in (x_mass, y_mass)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its complaint comes back in the log too, and is raised below
        plan, log = ot.emd(*(mass.numpy() for mass in masses), costs.numpy(), numItermax=SIMPLEX_ITERATIONS, log=True)
    if log["warning"]:
        raise RuntimeError(f"the exact solver did not finish: {' '.join(str(log['warning']).split())}")
    i, j = plan.nonzero()
    on_device = [torch.from_numpy(array).to(x.device) for array in (i, j, plan[i, j])]
    return on_device[0], on_device[1], on_device[2]
