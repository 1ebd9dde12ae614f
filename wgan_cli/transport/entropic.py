"""Entropic transport: Sinkhorn's algorithm in the log domain, and the debiased divergence."""

import math
import warnings
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wgan_cli.transport.shared import check_memory, check_order, check_problem, check_solver, masses


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
    check_order(p)
    x_weights, y_weights, batch = check_problem(x, y, x_weights, y_weights, point_dims=2)
    check_solver(epsilon, max_iterations, tolerance)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be none, mean or sum, got {reduction!r}")
    a, b = masses(x_weights, x, batch), masses(y_weights, y, batch)
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
    check_order(p)
    x_weights, y_weights, batch = check_problem(x, y, x_weights, y_weights, point_dims=2)
    check_solver(epsilon, max_iterations, tolerance)
    a, b = masses(x_weights, x, batch), masses(y_weights, y, batch)

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
    check_memory("entropic transport", SINKHORN_MATRICES * entries * x.element_size(), x.device)
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
