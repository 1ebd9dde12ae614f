"""Entropic transport and the debiased Sinkhorn divergence. `sinkhorn_solver.py` holds the numerical solver."""

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wgan_cli.transport.checks import check_cost_range, check_memory, check_order, check_problem, check_solver
from wgan_cli.transport.costs import masses, quick_distances
from wgan_cli.transport.sinkhorn_solver import (
    Limits,
    Problem,
    ScaledKernel,
    Solution,
    solve,
    solve_against_itself,
    solve_marginal_system,
)

# The measured number of matrices (n, m) that the divergence and its gradient hold in memory at the same time.
SINKHORN_MATRICES = 10
# The limit of iterations for a gradient. The solver usually stops far earlier.
GRADIENT_ITERATIONS = 1000


class SinkhornResult(NamedTuple):
    """The result of `sinkhorn`. `reduction` applies to `cost`; the other tensors keep the batch."""

    cost: Tensor  # ⟨P, C⟩ without the entropy, (...) or reduced
    plan: Tensor  # P, mass moved from xi to yj, (..., n, m)
    cost_matrix: Tensor  # C, ‖xi − yj‖^p, (..., n, m)
    iterations: int  # of all stages, those of Newton steps included; one number for the whole batch
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

    x (..., n, D), y (..., m, D), weights (..., n) and (..., m). C = ‖x − y‖^p: for p = 2 these are squared
    distances, and the cost is an upper bound of W2², not of W1. `epsilon` is absolute, in the unit of C, as in
    POT (Cuturi 2013, Sinkhorn Distances). The solver stops when the marginal error of every problem is at most
    `tolerance`; float32 reaches about 2e-6 for some thousand points. If `max_iterations` end before that, it
    warns (RuntimeWarning), and `converged` is false for the problems concerned.

    Cost and plan are differentiable in points and weights, by the implicit function theorem on the marginal
    conditions: no iteration is recorded, and the gradient is as exact as the marginals. Only first derivatives
    exist, and a weight of zero gets no gradient.
    """
    check_order(p)
    batch = check_problem(x, y, x_weights, y_weights, point_dims=2)
    check_solver(epsilon, max_iterations, tolerance)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be none, mean or sum, got {reduction!r}")
    a, b = masses(x_weights, x, batch), masses(y_weights, y, batch)
    cost_matrix = _cost_matrix(x, y, p, epsilon, batch)
    plan, error, iterations = _OptimalPlan.apply(cost_matrix, a, b, epsilon, Limits(max_iterations, tolerance))
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

    Shapes, cost and `epsilon` as in `sinkhorn`. The value is in the unit of ‖x − y‖^p, no root is taken. OT is the
    regularised optimum min ⟨P, C⟩ + epsilon · KL(P | a bᵀ), computed from the dual potentials. With OT, and not
    with ⟨P, C⟩, the divergence is proven to be non-negative for p up to 2 (Feydy et al. 2019, Interpolating
    between Optimal Transport and MMD using Sinkhorn Divergences, theorem 1). Negative values due to rounding or to
    an early stop are clamped to zero. Gradients by the envelope theorem: plans and potentials are held fixed.
    Warns as `sinkhorn` does.
    """
    check_order(p)
    batch = check_problem(x, y, x_weights, y_weights, point_dims=2)
    check_solver(epsilon, max_iterations, tolerance)
    a, b = masses(x_weights, x, batch), masses(y_weights, y, batch)

    limits = Limits(max_iterations, tolerance)

    def regularised_optimum(
        x: Tensor, y: Tensor, a: Tensor, b: Tensor, solution: Callable[[Tensor], Solution]
    ) -> Tensor:
        cost = _cost_matrix(x, y, p, epsilon, batch)
        with torch.no_grad():
            found = solution(cost)
            moved = (found.plan * cost).sum((-2, -1)) + epsilon * (found.plan.sum((-2, -1)) - 1)
        _warn_unless_converged("sinkhorn_divergence", found.error, found.iterations, tolerance, stacklevel=4)
        # The value is the dual Σ a f + Σ b g + epsilon · (1 − Σ P): for any potentials a lower bound of OT, with an
        # error quadratic in theirs. ⟨P, C⟩ adds its gradient only, because `moved` contains the same number.
        return (a * found.f).sum(-1) + (b * found.g).sum(-1) + (found.plan * cost).sum((-2, -1)) - moved

    def of_itself(a: Tensor) -> Callable[[Tensor], Solution]:
        return lambda cost: solve_against_itself(cost, a, epsilon, limits)

    is_same = x.shape == y.shape and torch.equal(x, y) and torch.equal(a, b)  # then it is zero, and not almost
    between = of_itself(a) if is_same else lambda cost: solve(Problem(cost, a, b, epsilon), limits)
    divergence = (
        regularised_optimum(x, y, a, b, between)
        - regularised_optimum(x, x, a, a, of_itself(a)) / 2
        - regularised_optimum(y, y, b, b, of_itself(b)) / 2
    )
    return divergence.clamp_min(0)


class _OptimalPlan(torch.autograd.Function):
    """From cost matrix and marginals to plan, marginal error and iterations. The plan is differentiable.

    P = a bᵀ exp((f ⊕ g − C)/ε), so dP = P ∘ (σ ⊕ τ − dC)/ε, where σ and τ keep the marginals: H [σ; τ] is
    [(P∘dC)1 + ε da; (P∘dC)ᵀ1 + ε db], with H = [diag(P1), P; Pᵀ, diag(Pᵀ1)]. H is symmetric, so for a
    gradient W of P the solution of H [s; t] = [(P∘W)1; (P∘W)ᵀ1] gives the gradients: P ∘ (s ⊕ t − W)/ε of C,
    s of a and t of b. Constants in s and t are arbitrary; the normalisation of the weights removes them.
    """

    @staticmethod
    def forward(
        ctx: Any, cost: Tensor, a: Tensor, b: Tensor, epsilon: float, limits: Limits
    ) -> tuple[Tensor, Tensor, int]:
        found = solve(Problem(cost, a, b, epsilon), limits)
        ctx.epsilon = epsilon
        ctx.save_for_backward(found.plan)
        ctx.mark_non_differentiable(found.error)
        return found.plan, found.error, found.iterations

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_plan: Tensor, *_unused: Any) -> tuple[Tensor | None, ...]:
        (plan,) = ctx.saved_tensors
        unscaled = ScaledKernel(plan, torch.ones_like(plan[..., 0]), torch.ones_like(plan[..., 0, :]))
        weighted = plan * grad_plan
        rows, columns, precision = weighted.sum(-1), weighted.sum(-2), torch.finfo(plan.dtype).eps
        s, t, _ = solve_marginal_system(unscaled, rows, columns, precision, GRADIENT_ITERATIONS)
        grad_cost = (s.unsqueeze(-1) + t.unsqueeze(-2)).sub_(grad_plan).mul_(plan).div_(ctx.epsilon)
        return grad_cost, s, t, None, None


def _cost_matrix(x: Tensor, y: Tensor, p: float, epsilon: float, batch: torch.Size) -> Tensor:
    """‖x − y‖^p, (*batch, n, m), checked against `epsilon`. Where points coincide, its gradient is zero."""
    entries = math.prod(batch) * x.shape[-2] * y.shape[-2]
    check_memory("entropic transport", SINKHORN_MATRICES * entries * x.element_size(), x.device)
    lengths = quick_distances(x, y)
    cost = lengths if p == 1 else lengths**p
    check_cost_range(cost, p, epsilon)
    return cost.expand(*batch, -1, -1)


def _warn_unless_converged(name: str, error: Tensor, iterations: int, tolerance: float, stacklevel: int) -> None:
    worst = error.max().item()
    if not worst <= tolerance:
        warnings.warn(
            f"{name} has not converged: after {iterations} iterations the marginal error is {worst:.1e}, "
            f"above the tolerance {tolerance:.1e}; raise max_iterations or epsilon",
            RuntimeWarning,
            stacklevel=stacklevel,
        )
