"""The numerical solver of entropic transport: Sinkhorn updates, annealing of epsilon, and Newton steps.

It records no gradients and checks no input. `sinkhorn.py` holds the public functions and their gradients.
The problems of a batch run in step, until all of them meet the tolerance.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

# Each stage of annealing divides epsilon by ANNEALING, and stops at a marginal error of ANNEALING_TOLERANCE.
ANNEALING = 4.0
ANNEALING_TOLERANCE = 1e-3
# Updates between two tests of the marginal error: each test waits for the device.
CHECK_EVERY = 10
# Larger factors are moved into the potentials, because the kernel may have rounded entries to zero that now matter.
LARGEST_FACTOR = 1e4
# Iterations between two Newton steps, and the relative residual at which a step stops solving its linear system.
NEWTON_EVERY = 20
NEWTON_PRECISION = 0.1


@dataclass(frozen=True)
class Problem:
    """Minimise ⟨P, C⟩ + epsilon · KL(P | a bᵀ) over the plans P with row sums a and column sums b."""

    cost: Tensor  # C, (..., n, m)
    a: Tensor  # (..., n)
    b: Tensor  # (..., m)
    epsilon: float  # in the unit of C


class Limits(NamedTuple):
    """The solver stops after `iterations`, or once the marginal error is at most `tolerance`."""

    iterations: int
    tolerance: float


class Solution(NamedTuple):
    """The result of `solve`."""

    f: Tensor  # potentials (..., n) and (..., m), in the unit of C: P = a bᵀ exp((f ⊕ g − C)/epsilon)
    g: Tensor
    plan: Tensor  # P, (..., n, m)
    error: Tensor  # marginal error Σ|P1 − a| + Σ|Pᵀ1 − b|, (...)
    iterations: int


@dataclass(frozen=True)
class ScaledKernel:
    """The plan P = diag(u) K diag(v), not multiplied out: products with a vector need only the kernel K."""

    kernel: Tensor  # K, (..., n, m)
    u: Tensor  # (..., n)
    v: Tensor  # (..., m)

    def times(self, vector: Tensor) -> Tensor:
        """P times a vector (..., m)."""
        return self.u * _times(self.kernel, self.v * vector)

    def transposed_times(self, vector: Tensor) -> Tensor:
        """Pᵀ times a vector (..., n)."""
        return self.v * _times(self.kernel.mT, self.u * vector)

    def row_sums(self) -> Tensor:
        """P 1, (..., n)."""
        return self.u * _times(self.kernel, self.v)

    def column_sums(self) -> Tensor:
        """Pᵀ 1, (..., m)."""
        return self.v * _times(self.kernel.mT, self.u)

    def with_factors(self, u: Tensor, v: Tensor, where: Tensor) -> "ScaledKernel":
        """The same kernel with new factors for the problems of the batch that `where` (...) selects."""
        where = where.unsqueeze(-1)
        return ScaledKernel(self.kernel, torch.where(where, u, self.u), torch.where(where, v, self.v))


def solve(problem: Problem, limits: Limits) -> Solution:
    """Solve for the largest cost as epsilon first, and reduce it in stages to the epsilon of the problem.

    At a large epsilon the potentials move far in few iterations. Without these stages, the number of iterations
    grows with the size of the potentials in units of epsilon (Schmitzer 2019, Stabilized Sparse Scaling
    Algorithms for Entropy Regularized Transport Problems, section 3). The stages may use half of the iterations.
    """
    g = torch.zeros_like(problem.b)
    stage_epsilon, used, most = problem.cost.max().item(), 0, limits.iterations // 2
    while stage_epsilon > problem.epsilon and used < most:
        stage = replace(problem, epsilon=stage_epsilon)
        _, g, _, spent = _solve_stage(stage, g, Limits(most - used, ANNEALING_TOLERANCE))
        used += spent
        stage_epsilon /= ANNEALING
    # Half the tolerance: the stage tests the error of the rows only, and rounding adds an error of the columns.
    f, g, plan, spent = _solve_stage(problem, g, Limits(limits.iterations - used, limits.tolerance / 2))
    error = (plan.sum(-1) - problem.a).abs().sum(-1) + (plan.sum(-2) - problem.b).abs().sum(-1)
    return Solution(f, g, plan, error, used + spent)


def solve_against_itself(cost: Tensor, a: Tensor, epsilon: float, limits: Limits) -> Solution:
    """Solve the problem of a cloud against itself: cost (..., n, n), both marginals a (..., n), and f = g.

    Each factor becomes the geometric mean of itself and of its Sinkhorn update. For p up to 2 the kernel is positive
    definite, so that this halves the error at least (Feydy et al. 2019, section 3.1), whatever epsilon is; updates of
    rows and columns in turn need thousands of iterations for a small one. The kernel has ones on its diagonal, so that
    the factors stay between n^-½ and the a^-½, and can't overflow.
    """
    kernel = (cost / -epsilon).exp_()
    kernel.masked_fill_(kernel < _negligible(kernel), 0)
    has_mass = a > _negligible(a)
    factor, used = torch.ones_like(a), 0
    while True:
        reached = _times(kernel, a * factor)
        # The plan is symmetric, so the columns have the error of the rows.
        error = 2 * (a * factor * reached - a).abs().sum(-1)
        if used >= limits.iterations or (used % CHECK_EVERY == 0 and not (error > limits.tolerance).any()):
            break
        factor = torch.where(has_mass, (factor / reached).sqrt(), 1)
        used += 1
    mass = a * factor
    plan = kernel.mul_(mass.unsqueeze(-1)).mul_(mass.unsqueeze(-2))
    f = epsilon * factor.log()
    return Solution(f, f, plan, error, used)


def _solve_stage(problem: Problem, g: Tensor, limits: Limits) -> tuple[Tensor, Tensor, Tensor, int]:
    """Potentials f and g, plan, and iterations used, for one epsilon and an initial g.

    An update in the log domain can't overflow at any epsilon. It gives a kernel that is almost the plan. The rest
    of the solution is factors u and v near 1, found by products of the kernel with vectors, which cost about a
    thirtieth of an update in the log domain. If the factors grow too large, they are moved into the potentials,
    and the next update in the log domain makes a new kernel.
    """
    used, next_newton, newton_gap = 0, NEWTON_EVERY, NEWTON_EVERY
    while True:
        f, g, kernel = _log_update(problem, g)
        used += 1
        scaled = ScaledKernel(kernel, torch.ones_like(problem.a), torch.ones_like(problem.b))
        while True:
            steps = min(CHECK_EVERY, limits.iterations - used)
            scaled, bounded = _update_factors(scaled, problem, steps)
            used += steps
            # After an update of v the column sums are exact, so only the rows have an error.
            missing = problem.a - scaled.row_sums()
            unmet = missing.abs().sum(-1) > limits.tolerance
            if used >= limits.iterations or not (unmet.any() and bounded.all()):
                break
            if used >= next_newton:
                scaled, accepted, spent = _newton_step(scaled, problem, missing, unmet, limits.iterations - used)
                used += spent
                newton_gap = NEWTON_EVERY if accepted else 2 * newton_gap
                next_newton = used + newton_gap
        f, g = f + problem.epsilon * scaled.u.log(), g + problem.epsilon * scaled.v.log()
        if used >= limits.iterations or not unmet.any():
            plan = kernel.mul_(scaled.u.unsqueeze(-1)).mul_(scaled.v.unsqueeze(-2))
            return f, g, plan, used


def _log_update(problem: Problem, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Update both potentials in the log domain, and return them with their plan, a bᵀ exp((f ⊕ g − C)/epsilon)."""
    cost, epsilon = problem.cost, problem.epsilon
    log_a, log_b = problem.a.log(), problem.b.log()
    f = -epsilon * torch.add((g / epsilon + log_b).unsqueeze(-2), cost, alpha=-1 / epsilon).logsumexp(-1)
    g = -epsilon * torch.add((f / epsilon + log_a).unsqueeze(-1), cost, alpha=-1 / epsilon).logsumexp(-2)
    plan = torch.add((f / epsilon + log_a).unsqueeze(-1), cost, alpha=-1 / epsilon)
    plan.add_((g / epsilon + log_b).unsqueeze(-2)).exp_()
    # Products with denormal numbers take a hundred times longer, and so small a mass changes no sum.
    return f, g, plan.masked_fill_(plan < _negligible(plan), 0)


def _update_factors(scaled: ScaledKernel, problem: Problem, steps: int) -> tuple[ScaledKernel, Tensor]:
    """`steps` Sinkhorn updates of the factors, and, for each problem, whether all factors are within bounds (...).

    The other problems keep their old factors, so that no progress is lost.
    """
    a, b, kernel = problem.a, problem.b, scaled.kernel
    # Points without mass have empty rows or columns, which no factor can scale.
    a_has_mass, b_has_mass = a > _negligible(a), b > _negligible(b)
    u, v = scaled.u, scaled.v
    for _ in range(steps):
        u = torch.where(a_has_mass, a / _times(kernel, v), 1)
        v = torch.where(b_has_mass, b / _times(kernel.mT, u), 1)
    bounded = _bounded(u) & _bounded(v)
    return scaled.with_factors(u, v, where=bounded), bounded


def _newton_step(
    scaled: ScaledKernel, problem: Problem, missing: Tensor, unmet: Tensor, budget: int
) -> tuple[ScaledKernel, bool, int]:
    """A Newton step of the potentials for the problems `unmet` (...), kept where it reduces the marginal error.

    Sinkhorn updates converge slowly where two parts of the clouds exchange almost no mass and their potentials
    must shift against each other. The linearised marginal conditions couple all parts. They are solved roughly,
    by conjugate gradients (Brauer et al. 2017, A Sinkhorn-Newton method for entropic optimal transport). No
    potential moves by more than epsilon, because the linearisation is valid in this range only.

    `missing` (..., n) is a minus the row sums. Returns the new plan, whether the step reduced the error of all
    problems `unmet`, and the iterations used, at most `budget`.
    """
    a, b, kernel = problem.a, problem.b, scaled.kernel
    rows = torch.where(unmet.unsqueeze(-1), missing, 0)
    s, _, spent = solve_marginal_system(scaled, rows, torch.zeros_like(b), NEWTON_PRECISION, budget)
    u = scaled.u * (s / s.abs().amax(-1, keepdim=True).clamp_min(1)).exp()
    v = torch.where(b > _negligible(b), b / _times(kernel.mT, u), 1)
    error = (a - u * _times(kernel, v)).abs().sum(-1)
    better = error < missing.abs().sum(-1)
    return scaled.with_factors(u, v, where=better), bool((better | ~unmet).all()), spent


def solve_marginal_system(
    plan: ScaledKernel, rows: Tensor, columns: Tensor, precision: float, budget: int
) -> tuple[Tensor, Tensor, int]:
    """Solve [diag(P1), P; Pᵀ, diag(Pᵀ1)] [s; t] = [rows; columns], and return s, t and the iterations used.

    With s eliminated, the system is (I − BᵀB) q = right side, where q = √c ∘ t, B = P/√(r cᵀ), and r and c are
    the marginals of P. Its eigenvalues lie in [0, 1]. One of them is zero: s + constant and t − constant is a
    solution too. Conjugate gradients reduce the residual to `precision` times the right side, or to the size of
    rounding errors. If P is almost a permutation, the right side consists of rounding errors only, and zero is
    the best solution.
    """
    per_row, per_column = (torch.where(mass > 0, 1 / mass, 0) for mass in (plan.row_sums(), plan.column_sums()))
    per_root = per_column.sqrt()

    def operator(q: Tensor) -> Tensor:
        return q - per_root * plan.transposed_times(per_row * plan.times(per_root * q))

    target = per_root * columns
    right = target - per_root * plan.transposed_times(per_row * rows)
    rounding = _rounding(right) ** 2 * ((target**2).sum(-1) + (per_row * rows**2).sum(-1))
    q, used = _conjugate_gradients(operator, right, precision, rounding, budget)
    t = per_root * q
    return per_row * (rows - plan.times(t)), t, used


def _conjugate_gradients(
    operator: Callable[[Tensor], Tensor], right: Tensor, precision: float, rounding: Tensor, budget: int
) -> tuple[Tensor, int]:
    """Solve operator(q) = right (..., m) from q = 0, and return q and the iterations used, at most `budget`.

    A problem stops once its squared residual is at most precision² · |right|² or `rounding` (...), or once the
    curvature along its direction is no larger than rounding errors.
    """
    q, residual, direction, used = torch.zeros_like(right), right, right, 0
    size = (residual**2).sum(-1)
    enough = torch.maximum(precision**2 * size, rounding)
    while used < budget and (used % CHECK_EVERY or bool((size > enough).any())):
        image = operator(direction)
        curvature = (direction * image).sum(-1)
        active = (size > enough) & (curvature > _rounding(right) * (direction**2).sum(-1))
        length = torch.where(active, size / curvature, 0).unsqueeze(-1)
        q = q + length * direction
        residual = residual - length * image
        # The size of a stopped problem becomes zero, so it stays stopped.
        size, last_size = torch.where(active, (residual**2).sum(-1), 0), size
        direction = residual + torch.where(active, size / last_size, 0).unsqueeze(-1) * direction
        used += 1
    return q, used


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    # As row times matrix: on a batch in float32 this is eight times faster than matrix times column.
    return (vector.unsqueeze(-2) @ matrix.mT).squeeze(-2)


def _bounded(factor: Tensor) -> Tensor:
    """For each problem of the batch, whether all its factors are within LARGEST_FACTOR of 1. NaN is not."""
    return ((factor <= LARGEST_FACTOR) & (factor >= 1 / LARGEST_FACTOR)).all(-1)


def _negligible(like: Tensor) -> float:
    """A mass so small that adding it changes no sum of this dtype."""
    return torch.finfo(like.dtype).tiny ** 0.75


def _rounding(like: Tensor) -> float:
    """The relative size of rounding errors in a sum of this dtype."""
    return 8 * torch.finfo(like.dtype).eps
