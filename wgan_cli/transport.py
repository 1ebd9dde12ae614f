"""Optimal transport as pure functions of tensors: the truth that a critic's gap is held against.

Clouds are float32 or float64 tensors on any device, batched over leading dimensions that broadcast. Every
result is differentiable. Weights are masses: they are divided by their sum, and None is uniform. A name says
what it returns: a `wasserstein` is the distance W_p, the p-th root of the cost, and what is squared says so.
Bad input raises a one-line ValueError that names the argument.
"""

import math
import os
import warnings
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

__all__ = [
    "SinkhornResult",
    "exact_plan",
    "exact_wasserstein",
    "gaussian_w2",
    "gaussian_w2_squared",
    "sinkhorn",
    "sinkhorn_divergence",
    "sliced_wasserstein",
    "wasserstein_1d",
    "wasserstein_1d_normal",
]

# --- one dimension -----------------------------------------------------------------------------------------


def wasserstein_1d(
    x: Tensor, y: Tensor, p: float = 1, x_weights: Tensor | None = None, y_weights: Tensor | None = None
) -> Tensor:
    """Exact W_p between samples on the line: (∫₀¹ |Qx(u) − Qy(u)|^p du)^(1/p), in the samples' unit.

    x (..., n), y (..., m) and weights of the same shapes give (...). The quantile functions Q are steps, so
    the integral is a sum over the at most n + m levels where either jumps (Santambrogio 2015, Optimal
    Transport for Applied Mathematicians, chapter 2). The gradient at distance zero is zero.
    """
    _check_order(p)
    x_weights, y_weights, _ = _check_problem(x, y, x_weights, y_weights, point_dims=1)
    gaps, widths = _quantile_gaps(x, y, x_weights, y_weights)
    return _power_mean(gaps, widths, p)


def wasserstein_1d_normal(
    x: Tensor, mean: float | Tensor, std: float | Tensor, p: float = 1, x_weights: Tensor | None = None
) -> Tensor:
    """Exact W_p, p = 1 or 2, between samples x (..., n) and the normal N(mean, std²), in the samples' unit.

    Nothing is sampled: sample i owns the levels from lo to hi = lo + its weight, and with z the standardised
    sample, Φ and φ the normal's distribution and density, and φ(u) short for φ(Φ⁻¹(u)),
        p = 1: ∫|z − Φ⁻¹| = z (2t − lo − hi) + 2φ(t) − φ(lo) − φ(hi), t = Φ(z) held within [lo, hi];
        p = 2: Σ ∫(z − Φ⁻¹)² = Σ z² (hi − lo) + 2z (φ(hi) − φ(lo)) + 1,
    both from ∫Φ⁻¹ du = −φ. Computed in float64, since neighbouring levels cancel. `mean` and `std` broadcast
    against the batch; std must be positive.
    """
    _check_order(p)
    if p not in (1, 2):
        raise ValueError(f"p must be 1 or 2 against a normal, got {p}")
    _check_points("x", x, point_dims=1)
    location = _normal_parameter("mean", mean, x)
    scale = _normal_parameter("std", std, x)
    if not (scale > 0).all():
        raise ValueError("std must be positive: the quantile function of a constant is no normal's")
    if x_weights is not None:
        x_weights = _check_weights("x_weights", x_weights, "x", x, point_dims=1)
    ordered, levels = _quantile_steps(x.double(), x_weights)
    z = (ordered - location.unsqueeze(-1)) / scale.unsqueeze(-1)

    # The outer levels 0 and 1 sit at ∓∞, where a derivative would be 0 · ∞: only the inner ones are computed.
    inner = torch.special.ndtri(levels[..., :-1].clamp(1e-300, 1 - 2**-53))
    density = pad(_normal_density(inner), (1, 1))
    lo_density, hi_density = density[..., :-1], density[..., 1:]
    if p == 1:
        lo, hi = pad(levels[..., :-1], (1, 0)), levels
        # Where the normal's quantile function meets the sample's step: left of it the step is the higher.
        crossing = z.clamp(pad(inner, (1, 0), value=-math.inf), pad(inner, (0, 1), value=math.inf))
        at_crossing = torch.special.ndtr(crossing)
        terms = z * (2 * at_crossing - lo - hi) + 2 * _normal_density(crossing) - lo_density - hi_density
        return (scale * terms.sum(-1)).to(x.dtype)
    widths = levels.diff(dim=-1, prepend=torch.zeros_like(levels[..., :1]))
    squared = (widths * z**2 + 2 * z * (hi_density - lo_density)).sum(-1) + 1
    return (scale * _root(squared, 2)).to(x.dtype)


def _normal_parameter(name: str, value: float | Tensor, x: Tensor) -> Tensor:
    """`value` as a float64 tensor that broadcasts against the batch of x."""
    parameter = torch.as_tensor(value, dtype=torch.float64, device=x.device)
    _broadcast(f"{name} and the batch of x", parameter.shape, x.shape[:-1])
    if not parameter.isfinite().all():
        raise ValueError(f"{name} must be finite")
    return parameter


def _normal_density(z: Tensor) -> Tensor:
    return torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _quantile_steps(x: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Samples in ascending order, and the level in (0, 1] up to which each is the quantile, in float64.

    In float32 the levels of a large sample would run into one another.
    """
    ordered, order = x.sort(dim=-1)
    if weights is None:
        n = x.shape[-1]
        return ordered, torch.arange(1, n + 1, dtype=torch.float64, device=x.device) / n
    shape = torch.broadcast_shapes(x.shape, weights.shape)
    mass = weights.expand(shape).double().gather(-1, order.expand(shape)).cumsum(dim=-1)
    return ordered.expand(shape), mass / mass[..., -1:]


def _quantile_gaps(x: Tensor, y: Tensor, x_weights: Tensor | None, y_weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """|Qx − Qy| between levels where neither jumps, (..., k), and how much of [0, 1] each holds."""
    n, m = x.shape[-1], y.shape[-1]
    if x_weights is None and y_weights is None:
        x, y = x.sort(dim=-1).values, y.sort(dim=-1).values
        if n == m:
            return (x - y).abs(), x.new_full((n,), 1 / n)
        # Levels in units of 1/(n m) are whole numbers, so jumps that coincide do so exactly.
        steps = torch.arange(1, max(n, m) + 1, device=x.device)
        levels = torch.cat([steps[:n] * m, steps[:m] * n]).unique()
        widths = levels.diff(prepend=levels.new_zeros(1)).to(x.dtype) / (n * m)
        return (x[..., (levels - 1) // m] - y[..., (levels - 1) // n]).abs(), widths

    (x, x_levels), (y, y_levels) = _quantile_steps(x, x_weights), _quantile_steps(y, y_weights)
    batch = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1])
    x, x_levels, y, y_levels = (each.expand(*batch, -1) for each in (x, x_levels, y, y_levels))
    levels = torch.cat([x_levels, y_levels], dim=-1).sort(dim=-1).values
    widths = levels.diff(dim=-1, prepend=torch.zeros_like(levels[..., :1])).to(x.dtype)
    at = levels.detach()
    x_index = torch.searchsorted(x_levels.detach().contiguous(), at).clamp(max=n - 1)
    y_index = torch.searchsorted(y_levels.detach().contiguous(), at).clamp(max=m - 1)
    return (x.gather(-1, x_index) - y.gather(-1, y_index)).abs(), widths


# --- sliced ------------------------------------------------------------------------------------------------


def sliced_wasserstein(
    x: Tensor,
    y: Tensor,
    projections: int = 256,
    p: float = 1,
    generator: torch.Generator | None = None,
    x_weights: Tensor | None = None,
    y_weights: Tensor | None = None,
) -> Tensor:
    """Sliced W_p: (mean over random directions θ of W_p(θ·x, θ·y)^p)^(1/p), a distance, in the points' unit.

    x (..., n, D), y (..., m, D), weights (..., n) and (..., m) give (...). The `projections` directions are
    uniform on the sphere and shared by the batch; the same generator state draws the same directions, so a
    floor can be measured along the very lines of the figure beside it. Its error falls as 1/√projections
    (Bonneel et al. 2015, Sliced and Radon Wasserstein Barycenters of Measures).
    """
    _check_order(p)
    x_weights, y_weights, _ = _check_problem(x, y, x_weights, y_weights, point_dims=2)
    if projections < 1:
        raise ValueError(f"projections must be at least 1, got {projections}")
    directions = _directions(x.shape[-1], projections, generator).to(x)
    gaps, widths = _quantile_gaps(
        (x @ directions).mT,
        (y @ directions).mT,
        None if x_weights is None else x_weights.unsqueeze(-2),
        None if y_weights is None else y_weights.unsqueeze(-2),
    )
    return _power_mean(gaps.flatten(-2), (widths / projections).expand_as(gaps).flatten(-2), p)


def _directions(dimension: int, count: int, generator: torch.Generator | None) -> Tensor:
    """Unit vectors (dimension, count) in float64, so that clouds of either dtype see the same ones."""
    device = generator.device if generator is not None else torch.device("cpu")
    drawn = torch.randn(count, dimension, dtype=torch.float64, device=device, generator=generator)
    return (drawn / drawn.norm(dim=-1, keepdim=True)).T


# --- Gaussians ---------------------------------------------------------------------------------------------


def gaussian_w2(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> Tensor:
    """W2, the distance (not its square), between two Gaussians: the root of `gaussian_w2_squared`."""
    return _root(gaussian_w2_squared(mean_x, cov_x, mean_y, cov_y), 2)


def gaussian_w2_squared(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> Tensor:
    """W2² = ‖μx − μy‖² + tr(Σx + Σy − 2 (Σy^½ Σx Σy^½)^½): squared distance, in the points' unit squared.

    Means (..., D) and covariances (..., D, D), symmetric and without negative eigenvalues, give (...).
    Gradients are finite wherever no covariance is singular, repeated eigenvalues included (Dowson and Landau
    1982, The Fréchet distance between multivariate normal distributions).
    """
    _check_pair(mean_x, mean_y, point_dims=1, names=("mean_x", "mean_y"))
    if mean_x.shape[-1] != mean_y.shape[-1]:
        raise ValueError(f"mean_x has dimension {mean_x.shape[-1]}, mean_y {mean_y.shape[-1]}")
    cov_x = _check_covariance("cov_x", cov_x, mean_x)
    cov_y = _check_covariance("cov_y", cov_y, mean_y)
    _broadcast("cov_x and cov_y", cov_x.shape[:-2], cov_y.shape[:-2])
    root_y = _symmetric_root(cov_y)
    cross = _symmetric_root(root_y @ cov_x @ root_y)
    spread = (cov_x + cov_y - 2 * cross).diagonal(dim1=-2, dim2=-1).sum(-1)
    # Rounding can leave equal Gaussians a hair below zero.
    return ((mean_x - mean_y) ** 2).sum(-1) + spread.clamp_min(0)


def _check_covariance(name: str, cov: Tensor, mean: Tensor) -> Tensor:
    """The covariance, symmetric to the last bit."""
    dimension = mean.shape[-1]
    _check_points(name, cov, point_dims=2)
    if cov.shape[-2:] != (dimension, dimension):
        raise ValueError(f"{name} must be (..., {dimension}, {dimension}) for its mean: {tuple(cov.shape)}")
    _check_alike("the mean", mean, name, cov)
    _broadcast(f"{name} and its mean", cov.shape[:-2], mean.shape[:-1])
    slack = 1e3 * torch.finfo(cov.dtype).eps * cov.detach().abs().amax()
    if ((cov - cov.mT).abs() > slack).any():
        raise ValueError(f"{name} must be symmetric")
    symmetric = (cov + cov.mT) / 2
    if torch.linalg.eigvalsh(symmetric.detach()).amin() < -slack * dimension:
        raise ValueError(f"{name} must have no negative eigenvalue")
    return symmetric


def _symmetric_root(matrix: Tensor) -> Tensor:
    root: Tensor = _SymmetricRoot.apply(matrix)
    return root


class _SymmetricRoot(torch.autograd.Function):
    """S with S S = A, for symmetric A without negative eigenvalues (those of rounding are taken as zero).

    From dS S + S dS = dA, the derivative in A's eigenbasis is dA_ij / (√λi + √λj). Going through eigh's own
    derivative would divide by λi − λj, and a round Gaussian has equal eigenvalues.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        eigenvalues, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
        roots = eigenvalues.clamp_min(0).sqrt()
        ctx.save_for_backward(roots, vectors)
        return (vectors * roots.unsqueeze(-2)) @ vectors.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        roots, vectors = ctx.saved_tensors
        sums = roots.unsqueeze(-1) + roots.unsqueeze(-2)
        inverse = torch.where(sums > 0, 1 / sums, 0)
        gradient: Tensor = vectors @ (inverse * (vectors.mT @ ((grad + grad.mT) / 2) @ vectors)) @ vectors.mT
        return gradient


# --- exact discrete ----------------------------------------------------------------------------------------

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
    _check_order(p)
    x_weights, y_weights, batch = _check_problem(x, y, x_weights, y_weights, point_dims=2)
    n, m = x.shape[-2], y.shape[-2]
    _check_memory("exact_wasserstein", SIMPLEX_MATRICES * 8 * n * m, torch.device("cpu"))
    x_flat = x.expand(*batch, -1, -1).reshape(-1, *x.shape[-2:])
    y_flat = y.expand(*batch, -1, -1).reshape(-1, *y.shape[-2:])
    x_mass = _masses(x_weights, x, batch).reshape(-1, n)
    y_mass = _masses(y_weights, y, batch).reshape(-1, m)

    distances = []
    for problem in range(len(x_flat)):
        i, j, mass = _optimal_pairs(x_flat[problem], y_flat[problem], x_mass[problem], y_mass[problem], p)
        lengths = torch.linalg.vector_norm((x_flat[problem, i] - y_flat[problem, j]).double(), dim=-1)
        distances.append(_power_mean(lengths, mass, p))
    return torch.stack(distances).reshape(batch).to(x.dtype)


def exact_plan(x: Tensor, y: Tensor, p: float = 1) -> Tensor:
    """The plan that `exact_wasserstein` prices: mass moved from each of x (n, D) to each of y (m, D), (n, m)."""
    _check_order(p)
    x_weights, y_weights, batch = _check_problem(x, y, None, None, point_dims=2)
    if batch:
        raise ValueError("x and y must be one problem, (n, D) and (m, D), to have one plan")
    _check_memory("exact_plan", SIMPLEX_MATRICES * 8 * len(x) * len(y), torch.device("cpu"))
    i, j, mass = _optimal_pairs(x, y, _masses(x_weights, x, batch), _masses(y_weights, y, batch), p)
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


# --- entropic ----------------------------------------------------------------------------------------------


class SinkhornResult(NamedTuple):
    """What `sinkhorn` found. `cost` is reduced as asked, the other tensors keep the batch."""

    cost: Tensor  # ⟨P, C⟩ without the entropy, (...) or reduced
    plan: Tensor  # P, mass moved from xi to yj, (..., n, m)
    cost_matrix: Tensor  # C, ‖xi − yj‖^p, (..., n, m)
    iterations: int  # passes over rows and columns, annealing and Newton's included; the batch runs in step
    marginal_error: Tensor  # Σ|P1 − a| + Σ|Pᵀ1 − b|, (...)
    converged: Tensor  # marginal_error <= tolerance, (...)


def sinkhorn(
    x: Tensor,
    y: Tensor,
    epsilon: float,
    p: float = 2,
    x_weights: Tensor | None = None,
    y_weights: Tensor | None = None,
    max_iterations: int = 10_000,
    tolerance: float = 1e-5,
    reduction: Literal["none", "mean", "sum"] = "none",
) -> SinkhornResult:
    """The plan P that minimises ⟨P, C⟩ + epsilon · KL(P | a bᵀ) with marginals a and b, and its cost ⟨P, C⟩.

    x (..., n, D), y (..., m, D), weights (..., n) and (..., m). C = ‖x − y‖^p: for p = 2 squared distances,
    and then the cost bounds W2² from above, not W1. `epsilon` is absolute, in the unit of C, as in POT
    (Cuturi 2013, Sinkhorn Distances). It stops once the marginals of every problem are within `tolerance` in
    L1, for which float32 has digits down to about 2e-6 at some thousand points. Where it does not get there,
    it warns (RuntimeWarning) and `converged` says so.

    Cost and plan are differentiable in points and weights, by the implicit function theorem on the marginal
    conditions: no iteration is recorded, and the gradient is as exact as the marginals are. First derivatives
    only; a weight of zero takes none.
    """
    _check_order(p)
    x_weights, y_weights, batch = _check_problem(x, y, x_weights, y_weights, point_dims=2)
    _check_solver(epsilon, max_iterations, tolerance)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be none, mean or sum, got {reduction!r}")
    a, b = _masses(x_weights, x, batch), _masses(y_weights, y, batch)
    cost_matrix = _cost_matrix(x, y, p, epsilon, batch)
    plan, error, iterations = _OptimalPlan.apply(cost_matrix, a, b, epsilon, max_iterations, tolerance)
    _warn_unless_converged("sinkhorn", error, iterations, tolerance, stacklevel=3)
    cost = (plan * cost_matrix).sum((-2, -1))
    if reduction != "none":
        cost = cost.mean() if reduction == "mean" else cost.sum()
    return SinkhornResult(cost, plan, cost_matrix, iterations, error, error <= tolerance)


def sinkhorn_divergence(
    x: Tensor,
    y: Tensor,
    epsilon: float,
    p: float = 2,
    x_weights: Tensor | None = None,
    y_weights: Tensor | None = None,
    max_iterations: int = 10_000,
    tolerance: float = 1e-5,
) -> Tensor:
    """Debiased entropic transport OT(x, y) − ½ OT(x, x) − ½ OT(y, y): zero for equal clouds, never negative.

    Shapes, cost and `epsilon` as in `sinkhorn`; the value is in the unit of ‖x − y‖^p, not rooted. OT is the
    regularised optimum min ⟨P, C⟩ + epsilon · KL(P | a bᵀ), read off the dual, and not ⟨P, C⟩: with it alone
    the divergence is proven to be non-negative, for p up to 2 (Feydy et al. 2019, Interpolating between
    Optimal Transport and MMD using Sinkhorn Divergences, theorem 1). What rounding or an early stop leaves
    below zero is clamped. Gradients by the envelope theorem, plans and potentials held fixed; warns as
    `sinkhorn` does.
    """
    _check_order(p)
    x_weights, y_weights, batch = _check_problem(x, y, x_weights, y_weights, point_dims=2)
    _check_solver(epsilon, max_iterations, tolerance)
    a, b = _masses(x_weights, x, batch), _masses(y_weights, y, batch)

    def regularised(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
        cost = _cost_matrix(x, y, p, epsilon, batch)
        with torch.no_grad():
            found = _solve(cost, a, b, epsilon, max_iterations, tolerance)
            moved = (found.plan * cost).sum((-2, -1)) + epsilon * (found.plan.sum((-2, -1)) - 1)
        _warn_unless_converged("sinkhorn_divergence", found.error, found.iterations, tolerance, stacklevel=4)
        # Any potentials bound OT from below, by an error quadratic in theirs. `moved` leaves of ⟨P, C⟩ only
        # its gradient, and of the plan's mass its difference from 1.
        return (a * found.f).sum(-1) + (b * found.g).sum(-1) + (found.plan * cost).sum((-2, -1)) - moved

    divergence = regularised(x, y, a, b) - regularised(x, x, a, a) / 2 - regularised(y, y, b, b) / 2
    return divergence.clamp_min(0)


class _Solution(NamedTuple):
    f: Tensor  # potentials, in the unit of C: P = a bᵀ exp((f ⊕ g − C)/ε)
    g: Tensor
    plan: Tensor
    error: Tensor
    iterations: int


# An annealing stage divides epsilon by ANNEALING, and needs no better marginals than ANNEALING_TOLERANCE.
ANNEALING = 4.0
ANNEALING_TOLERANCE = 1e-3
# Cheap updates between two looks at the marginals: each look waits for the device.
CHECK_EVERY = 10
# Factors beyond this go into the potentials: entries that the kernel has rounded to zero may matter by then.
LARGEST_FACTOR = 1e4
# Iterations between two Newton steps, and how far each reduces the residual of its linear system.
NEWTON_EVERY = 20
NEWTON_PRECISION = 0.1
# Matrices of n by m that live at once in the divergence and its gradient: measured.
SINKHORN_MATRICES = 10
# Conjugate gradients of a gradient end by themselves; this ends the hopeless.
ADJOINT_ITERATIONS = 1000


def _solve(
    cost: Tensor,
    a: Tensor,
    b: Tensor,
    epsilon: float,
    max_iterations: int,
    tolerance: float,
) -> _Solution:
    """Sinkhorn from the largest cost down to epsilon: at a large epsilon, potentials travel far in few steps.

    Without it, an epsilon of 1e-4 of the mean cost takes as many iterations as the potentials have epsilons
    to climb (Schmitzer 2019, Stabilized Sparse Scaling Algorithms for Entropy Regularized Transport Problems,
    section 3). Half of the iterations are kept for epsilon itself.
    """
    g = torch.zeros_like(b)
    warm, used = cost.max().item(), 0
    while warm > epsilon and used < max_iterations // 2:
        _, g, _, spent = _solve_at(warm, cost, a, b, g, max_iterations // 2 - used, ANNEALING_TOLERANCE)
        used += spent
        warm /= ANNEALING
    # Half the tolerance: it stops on the rows alone, and rounding leaves the columns not quite exact.
    f, g, plan, spent = _solve_at(epsilon, cost, a, b, g, max_iterations - used, tolerance / 2)
    error = (plan.sum(-1) - a).abs().sum(-1) + (plan.sum(-2) - b).abs().sum(-1)
    return _Solution(f, g, plan, error, used + spent)


def _solve_at(
    epsilon: float, cost: Tensor, a: Tensor, b: Tensor, g: Tensor, budget: int, tolerance: float
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Potentials and plan at one epsilon, from the potential g, and the iterations used, at most `budget`.

    An update in the log domain, which no epsilon overflows, gives a kernel that is nearly the plan. Left to
    find are factors near 1, u on its rows and v on its columns, by products of matrix and vector, some thirty
    times cheaper. Should they grow large, they go into the potentials, and the log domain begins anew.
    """
    used, next_newton, patience = 0, NEWTON_EVERY, NEWTON_EVERY
    while True:
        f, g, kernel = _log_update(epsilon, cost, a, b, g)
        used += 1
        u, v = torch.ones_like(a), torch.ones_like(b)
        while True:
            steps = min(CHECK_EVERY, budget - used)
            u, v, bounded = _update_factors(kernel, a, b, u, v, steps)
            used += steps
            # Columns are exact after an update of v, so the rows have the whole error.
            missing = a - u * _times(kernel, v)
            unmet = missing.abs().sum(-1) > tolerance
            if used >= budget or not (unmet.any() and bounded.all()):
                break
            if used >= next_newton:
                u, v, accepted, spent = _newton_step(kernel, a, b, u, v, missing, unmet, budget - used)
                used += spent
                patience = NEWTON_EVERY if accepted else 2 * patience
                next_newton = used + patience
        f, g = f + epsilon * u.log(), g + epsilon * v.log()
        if used >= budget or not unmet.any():
            return f, g, kernel.mul_(u.unsqueeze(-1)).mul_(v.unsqueeze(-2)), used


def _log_update(
    epsilon: float,
    cost: Tensor,
    a: Tensor,
    b: Tensor,
    g: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Update both potentials in the log domain; the kernel is their plan, a bᵀ exp((f ⊕ g − C)/ε)."""
    log_a, log_b = a.log(), b.log()
    f = -epsilon * torch.add((g / epsilon + log_b).unsqueeze(-2), cost, alpha=-1 / epsilon).logsumexp(-1)
    g = -epsilon * torch.add((f / epsilon + log_a).unsqueeze(-1), cost, alpha=-1 / epsilon).logsumexp(-2)
    kernel = torch.add((f / epsilon + log_a).unsqueeze(-1), cost, alpha=-1 / epsilon)
    kernel.add_((g / epsilon + log_b).unsqueeze(-2)).exp_()
    # Denormals take a hundred times longer to multiply, and weigh nothing beside a mass of 1.
    return f, g, kernel.masked_fill_(kernel < _invisible(kernel), 0)


def _update_factors(
    kernel: Tensor, a: Tensor, b: Tensor, u: Tensor, v: Tensor, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`steps` Sinkhorn updates of the factors, and for which problems they stayed bounded.

    The others keep the factors they had, so progress is never worse than the log domain's.
    """
    new_u, new_v = u, v
    for _ in range(steps):
        # Points without mass have neither rows nor columns to scale.
        new_u = torch.where(a > _invisible(a), a / _times(kernel, new_v), 1)
        new_v = torch.where(b > _invisible(b), b / _times(kernel.mT, new_u), 1)
    bounded = _bounded(new_u) & _bounded(new_v)
    u = torch.where(bounded.unsqueeze(-1), new_u, u)
    return u, torch.where(bounded.unsqueeze(-1), new_v, v), bounded


def _newton_step(
    kernel: Tensor, a: Tensor, b: Tensor, u: Tensor, v: Tensor, missing: Tensor, unmet: Tensor, budget: int
) -> tuple[Tensor, Tensor, bool, int]:
    """Newton's step for the potentials of the problems `unmet`, taken where it brings the marginals closer.

    Sinkhorn's updates crawl where parts of the clouds that hardly exchange mass must shift their potentials
    against one another; the linearised marginal conditions, solved roughly by conjugate gradients, see all
    parts at once (Brauer et al. 2017, A Sinkhorn-Newton method for entropic optimal transport). No potential
    moves by more than epsilon, the range in which the linearisation holds.
    """
    rows = torch.where(unmet.unsqueeze(-1), missing, 0)
    s, _, spent = _marginal_system(kernel, u, v, rows, torch.zeros_like(b), NEWTON_PRECISION, budget)
    new_u = u * (s / s.abs().amax(-1, keepdim=True).clamp_min(1)).exp()
    new_v = torch.where(b > _invisible(b), b / _times(kernel.mT, new_u), 1)
    error = (a - new_u * _times(kernel, new_v)).abs().sum(-1)
    better = error < missing.abs().sum(-1)
    u = torch.where(better.unsqueeze(-1), new_u, u)
    return u, torch.where(better.unsqueeze(-1), new_v, v), bool((better | ~unmet).all()), spent


def _marginal_system(
    kernel: Tensor, u: Tensor, v: Tensor, rows: Tensor, columns: Tensor, precision: float, budget: int
) -> tuple[Tensor, Tensor, int]:
    """Solve [diag(P1), P; Pᵀ, diag(Pᵀ1)] [s; t] = [rows; columns] for P = diag(u) kernel diag(v).

    Without s it reads (I − BᵀB) q = right, with q = √c ∘ t, B = P/√(r cᵀ), r and c the marginals of P. Its
    eigenvalues lie in [0, 1], zero being the constant that s and t can trade. Conjugate gradients bring the
    residual to `precision` of the right side, or to rounding: for a plan near a permutation the right side is
    nothing else, and zero the best answer. Returned with the iterations this took.
    """
    per_row, per_column = (
        torch.where(mass > 0, 1 / mass, 0) for mass in (u * _times(kernel, v), v * _times(kernel.mT, u))
    )
    per_root = per_column.sqrt()

    def forth(vector: Tensor) -> Tensor:
        return u * _times(kernel, v * vector)

    def back(vector: Tensor) -> Tensor:
        return v * _times(kernel.mT, u * vector)

    target = per_root * columns
    residual = target - per_root * back(per_row * rows)
    size = (residual**2).sum(-1)
    rounding = 8 * torch.finfo(kernel.dtype).eps
    given = (target**2).sum(-1) + (per_row * rows**2).sum(-1)
    enough = torch.maximum(precision**2 * size, rounding**2 * given)
    direction, q, used = residual, torch.zeros_like(residual), 0
    while used < budget and (used % CHECK_EVERY or bool((size > enough).any())):
        image = direction - per_root * back(per_row * forth(per_root * direction))
        curvature = (direction * image).sum(-1)
        # A problem that has finished, or sees rounding instead of curvature, stands still from now on.
        going = (size > enough) & (curvature > rounding * (direction**2).sum(-1))
        length = torch.where(going, size / curvature, 0).unsqueeze(-1)
        q = q + length * direction
        residual = residual - length * image
        size, last = torch.where(going, (residual**2).sum(-1), 0), size
        direction = residual + torch.where(going, size / last, 0).unsqueeze(-1) * direction
        used += 1
    t = per_root * q
    return per_row * (rows - forth(t)), t, used


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    # As row times matrix: eight times faster on a batch in float32 than matrix times column.
    return (vector.unsqueeze(-2) @ matrix.mT).squeeze(-2)


def _bounded(factor: Tensor) -> Tensor:
    """Which problems of the batch have all factors within LARGEST_FACTOR of 1; NaN is not."""
    return ((factor <= LARGEST_FACTOR) & (factor >= 1 / LARGEST_FACTOR)).all(-1)


def _invisible(like: Tensor) -> float:
    """A mass too small for sums of this dtype to see."""
    return torch.finfo(like.dtype).tiny ** 0.75


class _OptimalPlan(torch.autograd.Function):
    """Cost matrix and marginals to entropic plan, marginal error and iterations; the plan is differentiable.

    P = a bᵀ exp((f ⊕ g − C)/ε), so dP = P ∘ (σ ⊕ τ − dC)/ε, where σ and τ keep the marginals: H [σ; τ] is
    [(P∘dC)1 + ε da; (P∘dC)ᵀ1 + ε db], with H = [diag(P1), P; Pᵀ, diag(Pᵀ1)]. H is symmetric, so for a
    gradient W on P the solution of H [s; t] = [(P∘W)1; (P∘W)ᵀ1] gives the gradients: P ∘ (s ⊕ t − W)/ε on C,
    s on a and t on b, these two up to constants that normalised weights cancel.
    """

    @staticmethod
    def forward(
        ctx: Any, cost: Tensor, a: Tensor, b: Tensor, epsilon: float, max_iterations: int, tolerance: float
    ) -> tuple[Tensor, Tensor, int]:
        found = _solve(cost, a, b, epsilon, max_iterations, tolerance)
        ctx.epsilon = epsilon
        ctx.save_for_backward(found.plan)
        ctx.mark_non_differentiable(found.error)
        return found.plan, found.error, found.iterations

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_plan: Tensor, *_unused: Any) -> tuple[Tensor | None, ...]:
        (plan,) = ctx.saved_tensors
        weighted = plan * grad_plan
        s, t, _ = _marginal_system(
            plan,
            torch.ones_like(plan[..., 0]),
            torch.ones_like(plan[..., 0, :]),
            weighted.sum(-1),
            weighted.sum(-2),
            torch.finfo(plan.dtype).eps,
            ADJOINT_ITERATIONS,
        )
        grad_cost = (s.unsqueeze(-1) + t.unsqueeze(-2)).sub_(grad_plan).mul_(plan).div_(ctx.epsilon)
        return grad_cost, s, t, None, None, None


def _cost_matrix(x: Tensor, y: Tensor, p: float, epsilon: float, batch: torch.Size) -> Tensor:
    """‖x − y‖^p, (*batch, n, m), fit for epsilon. Its gradient where points coincide is zero."""
    entries = math.prod(batch) * x.shape[-2] * y.shape[-2]
    _check_memory("entropic transport", SINKHORN_MATRICES * entries * x.element_size(), x.device)
    # By differences: through ‖x‖² + ‖y‖² − 2xy, near points of float32 have distances of rounding alone.
    distances = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    cost = distances if p == 1 else distances**p
    largest = cost.detach().max().item()
    if not math.isfinite(largest):
        raise ValueError(f"x and y are so far apart that distance^{p:g} overflows {x.dtype}: scale them down")
    if epsilon < torch.finfo(x.dtype).eps * largest:
        raise ValueError(
            f"epsilon {epsilon:.1e} is below what {x.dtype} resolves of the largest cost, {largest:.1e}: "
            "take a larger one, or exact_wasserstein"
        )
    return cost.expand(*batch, -1, -1)


def _warn_unless_converged(
    name: str,
    error: Tensor,
    iterations: int,
    tolerance: float,
    stacklevel: int,
) -> None:
    worst = error.max().item()
    if not worst <= tolerance:
        warnings.warn(
            f"{name} has not converged: after {iterations} iterations the marginal error is {worst:.1e}, "
            f"above the tolerance {tolerance:.1e}; raise max_iterations or epsilon",
            RuntimeWarning,
            stacklevel=stacklevel,
        )


# --- shared ------------------------------------------------------------------------------------------------


def _power_mean(lengths: Tensor, masses: Tensor, p: float) -> Tensor:
    """(Σ masses · lengths^p)^(1/p) over the last dimension; its gradient is zero where every length is.

    Lengths are divided by their largest first, so that no power under- or overflows.
    """
    if p == 1:
        return (masses * lengths).sum(-1)
    largest = lengths.detach().amax(-1)
    largest = torch.where(largest > 0, largest, 1)
    return largest * _root((masses * (lengths / largest.unsqueeze(-1)) ** p).sum(-1), p)


def _root(total: Tensor, p: float) -> Tensor:
    """total^(1/p); zero with gradient zero where total <= 0, as the root's own gradient there makes NaN."""
    positive = total > 0
    return torch.where(positive, torch.where(positive, total, 1) ** (1 / p), 0)


def _masses(weights: Tensor | None, x: Tensor, batch: torch.Size) -> Tensor:
    """The mass of each point, (*batch, n)."""
    n = x.shape[-2]
    return (x.new_full((n,), 1 / n) if weights is None else weights).expand(*batch, n)


def _check_order(p: float) -> None:
    if not (p >= 1 and math.isfinite(p)):
        raise ValueError(f"p must be a finite number of at least 1, got {p}")


def _check_solver(epsilon: float, max_iterations: int, tolerance: float) -> None:
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise ValueError(f"epsilon must be positive and finite, got {epsilon}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, got {max_iterations}")
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")


def _check_points(name: str, x: Tensor, point_dims: int) -> None:
    if not isinstance(x, Tensor) or x.dtype not in (torch.float32, torch.float64):
        found = getattr(x, "dtype", type(x).__name__)
        raise ValueError(f"{name} must be a float32 or float64 tensor, got {found}")
    if x.dim() < point_dims:
        wanted = "(..., n)" if point_dims == 1 else "(..., n, D)"
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"{name} is empty: its shape is {tuple(x.shape)}")
    if not x.detach().isfinite().all():
        raise ValueError(f"{name} must be finite, but has infinite or NaN entries")


def _check_pair(x: Tensor, y: Tensor, point_dims: int, names: tuple[str, str] = ("x", "y")) -> torch.Size:
    """The batch that both broadcast to."""
    _check_points(names[0], x, point_dims)
    _check_points(names[1], y, point_dims)
    _check_alike(names[0], x, names[1], y)
    if point_dims == 2 and x.shape[-1] != y.shape[-1]:
        raise ValueError(f"x has points of dimension {x.shape[-1]}, y of {y.shape[-1]}: they must agree")
    return _broadcast(f"{names[0]} and {names[1]}", x.shape[:-point_dims], y.shape[:-point_dims])


def _check_alike(name_x: str, x: Tensor, name_y: str, y: Tensor) -> None:
    if x.dtype != y.dtype or x.device != y.device:
        raise ValueError(
            f"{name_x} is {x.dtype} on {x.device}, {name_y} {y.dtype} on {y.device}: they must be the same"
        )


def _broadcast(what: str, x: torch.Size, y: torch.Size) -> torch.Size:
    try:
        return torch.broadcast_shapes(x, y)
    except RuntimeError:
        raise ValueError(f"{what} have batches {tuple(x)} and {tuple(y)} that don't broadcast") from None


def _check_problem(
    x: Tensor, y: Tensor, x_weights: Tensor | None, y_weights: Tensor | None, point_dims: int
) -> tuple[Tensor | None, Tensor | None, torch.Size]:
    """The weights divided by their sums, and the batch that clouds and weights broadcast to."""
    batch = _check_pair(x, y, point_dims)
    if x_weights is not None:
        x_weights = _check_weights("x_weights", x_weights, "x", x, point_dims)
        batch = _broadcast("x_weights and clouds", x_weights.shape[:-1], batch)
    if y_weights is not None:
        y_weights = _check_weights("y_weights", y_weights, "y", y, point_dims)
        batch = _broadcast("y_weights and clouds", y_weights.shape[:-1], batch)
    return x_weights, y_weights, batch


def _check_weights(name: str, weights: Tensor, cloud: str, x: Tensor, point_dims: int) -> Tensor:
    """Weights divided by their sum."""
    _check_points(name, weights, point_dims=1)
    _check_alike(cloud, x, name, weights)
    n, shape = x.shape[-point_dims], tuple(weights.shape)
    if shape[-1] != n:
        raise ValueError(f"{name} must have shape (..., {n}), as {cloud} has {n} points, got {shape}")
    if (weights < 0).any():
        raise ValueError(f"{name} must not be negative")
    total = weights.sum(-1, keepdim=True)
    if not ((total > 0) & total.isfinite()).all():
        raise ValueError(f"{name} must have a positive, finite sum")
    return weights / total


def _check_memory(name: str, needed: int, device: torch.device) -> None:
    """Refuse what the device can't hold: Linux grants the memory, then kills the process without a word."""
    if device.type == "cuda":
        held = torch.cuda.get_device_properties(device).total_memory
    elif hasattr(os, "sysconf"):
        held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        return
    if needed > held:
        raise ValueError(
            f"{name} of x and y this large needs about {needed:,} bytes, and {device} has {held:,}: take fewer points"
        )
