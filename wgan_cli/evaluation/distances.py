"""Distances between two sets of points, by several methods.

Each method takes points (N, D) and (M, D) in float64 and returns named figures; `w1` is W1, `w2_squared` is W2².
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wgan_cli import transport
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.evaluation.critic_fit import FITS, CriticFit, Fitted, best_fitted, fitted
from wgan_cli.lipschitz.bound import ANCHORS, Bound, lower_bound
from wgan_cli.transport.confidence import CONFIDENCE
from wgan_cli.transport.costs import distances


@dataclass(frozen=True)
class Problem:
    """Two sets of points, (N, D) and (M, D) in float64, and the settings of the methods."""

    x: Tensor
    y: Tensor
    p: float = 1
    epsilon: float | None = None
    """The entropic blur in the unit of the cost ‖x − y‖^p; None for a hundredth of the mean cost."""
    seed: int = 0
    fits: Sequence[CriticFit] = FITS
    """Of the critics: the one that proves most counts."""
    confidence: float = CONFIDENCE
    """Of each limit of `bounds`, one-sided."""
    with_plan: bool = False
    """Whether the plan is wanted. On the line, exact distances are quicker without it, and need little memory."""


@dataclass(frozen=True)
class Distance:
    """Figures by name, and the plan (N, M) if the method has one."""

    figures: dict[str, float | bool]
    plan: Tensor | None = None


def exact(problem: Problem) -> Distance:
    """W_p by the network simplex."""
    x, y, p = problem.x, problem.y, problem.p
    if x.shape[1] == 1 and not problem.with_plan:
        return one_dimensional(problem)
    plan = transport.exact_plan(x, y, p)
    cost = (plan * distances(x, y) ** p).sum()
    return Distance({f"w{p:g}": cost.item() ** (1 / p)}, plan)


def sinkhorn(problem: Problem) -> Distance:
    """The cost ⟨P, C⟩ of the entropic plan, C = ‖x − y‖^p, and the debiased divergence."""
    x, y, p, epsilon = problem.x, problem.y, problem.p, problem.epsilon
    if epsilon is None:
        epsilon = float((torch.cdist(x, y) ** p).mean()) / 100 or 1.0  # where all points coincide, any will do
    found = transport.sinkhorn(x, y, epsilon, p)
    divergence = transport.sinkhorn_divergence(x, y, epsilon, p)
    figures = {
        "sinkhorn_cost": found.cost.item(),
        "sinkhorn_divergence": divergence.item(),
        "epsilon": epsilon,
        "marginal_error": found.marginal_error.item(),
        "converged": bool(found.converged),
    }
    return Distance(figures, found.plan)


def sliced(problem: Problem) -> Distance:
    """The sliced W_p over 256 directions."""
    generator = torch.Generator().manual_seed(problem.seed)
    distance = transport.sliced_wasserstein(problem.x, problem.y, p=problem.p, generator=generator)
    return Distance({f"sliced_w{problem.p:g}": distance.item()})


def gaussian(problem: Problem) -> Distance:
    """W2 between the normals with the means and covariances of the sets."""
    if min(len(problem.x), len(problem.y)) < 2:
        raise BadInputError("--method gaussian: needs at least 2 samples in each set, for a covariance")
    moments = [(points.mean(0), torch.cov(points.T).reshape(points.shape[1], -1)) for points in (problem.x, problem.y)]
    squared = transport.gaussian_w2_squared(*moments[0], *moments[1]).item()
    return Distance({"gaussian_w2": squared**0.5, "gaussian_w2_squared": squared})


def one_dimensional(problem: Problem) -> Distance:
    """W_p between points of one value, by their quantile functions."""
    x, y, p = problem.x, problem.y, problem.p
    if x.shape[1] != 1:
        raise BadInputError(f"--method 1d: samples here have {x.shape[1]} values, not one; use exact or sliced")
    return Distance({f"w{p:g}": transport.wasserstein_1d(x[:, 0], y[:, 0], p).item()})


def critic(problem: Problem) -> Distance:
    """The W1 estimate of a critic trained between the sets: gap / Lipschitz constant.

    Of several fits, the one that proves most on a fifth of the points is trained again on all of them.
    """
    generator = torch.Generator().manual_seed(problem.seed)
    x, y = (_shuffled(points, generator) for points in (problem.x, problem.y))
    several = len(problem.fits) > 1
    if several and min(len(x), len(y)) < 4:
        raise BadInputError("--method critic: needs at least 4 samples in each set, to choose a critic by")
    fit = best_fitted(x, y, problem.fits, problem.seed).fit if several else problem.fits[0]
    found = fitted(x, y, fit, problem.seed).estimate(x, y)
    figures = {"gap": found.gap, "lipschitz": found.lipschitz}
    return Distance(figures if found.w1 is None else {**figures, "w1_estimate": found.w1})


def bounds(problem: Problem) -> Distance:
    """W1 between two confidence limits, each at `confidence`, with the estimate of a critic.

    A third of each set judges; the rest trains the critic and gives the anchors. The lower limit is the larger of two:
    that of the critic's scores, and that of the dual potentials of the exact plan between the anchors. These prove more
    in few dimensions, the critic in many. The two share the chance of being wrong.
    """
    generator, confidence = torch.Generator().manual_seed(problem.seed), problem.confidence
    shuffled = [_shuffled(points, generator) for points in (problem.x, problem.y)]
    if min(map(len, shuffled)) < 12:
        raise BadInputError("--method bounds: needs at least 12 samples in each set, a third of them to judge by")
    judged = [points[: len(points) // 3] for points in shuffled]
    rest = [points[len(points) // 3 :] for points in shuffled]
    critic = best_fitted(rest[0], rest[1], problem.fits, problem.seed)
    proofs = lower_limits(critic, rest, judged, confidence)
    low = max(proofs.values(), key=lambda bound: bound.low)
    high = transport.upper_bound(shuffled[0], shuffled[1], confidence)
    figures = {"w1_low": low.low, "w1_high": high.high, "confidence": confidence}
    figures |= {f"w1_low_by_{name}": bound.low for name, bound in proofs.items()}
    found = critic.estimate(*judged).w1
    figures |= {} if found is None else {"w1_estimate": found}
    figures |= {"anchors": low.anchors, "judged": low.samples, "batches": high.batches, "batch_size": high.batch_size}
    return Distance(figures)


def _shuffled(points: Tensor, generator: torch.Generator) -> Tensor:
    return points[torch.randperm(len(points), generator=generator)]


def lower_limits(
    critic: Fitted, chosen: Sequence[Tensor], judged: Sequence[Tensor], confidence: float
) -> dict[str, Bound]:
    """Lower limits of W1 that hold together with this confidence: by a critic that was trained on the chosen points,
    and by dual potentials of at most `ANCHORS` of these of each set."""
    share = (1 + confidence) / 2
    anchors = [points[:ANCHORS] for points in chosen]
    potentials = transport.dual_potentials(*anchors)
    return {
        "critic": critic.proved(chosen, judged, share),
        "plan": lower_bound(anchors, potentials, judged, slope=1.0, confidence=share),
    }


METHODS: dict[str, Callable[[Problem], Distance]] = {
    "exact": exact,
    "sinkhorn": sinkhorn,
    "sliced": sliced,
    "gaussian": gaussian,
    "1d": one_dimensional,
    "critic": critic,
    "bounds": bounds,
}


WITH_PLAN = ("exact", "sinkhorn")


def measure(problem: Problem, method: str) -> Distance:
    """The distance by this method. Raises `BadInputError` for sets that do not fit each other, or not the method."""
    if problem.x.shape[1] != problem.y.shape[1]:
        raise BadInputError(
            f"samples of A have {problem.x.shape[1]} values, those of B {problem.y.shape[1]}; both need as many"
        )
    if method not in METHODS:
        raise BadInputError(f"--method {method}: unknown; allowed: {', '.join(METHODS)}")
    _refuse_unread(problem, method)
    try:
        found = METHODS[method](problem)
    except ValueError as error:
        raise BadInputError(f"--method {method}: {error}") from error
    for name, value in found.figures.items():
        if not math.isfinite(value):
            slower = ", or train the critic more slowly" if method in ("critic", "bounds") else ""
            raise WganError(f"--method {method}: {name} is {value}; scale the samples{slower}")
    return found


ORDERS = {"critic": 1, "bounds": 1, "gaussian": 2}
"""The order of the methods that have only one."""


def _refuse_unread(problem: Problem, method: str) -> None:
    """Raises `BadInputError` for settings that the method would not read."""
    order = ORDERS.get(method, problem.p)
    if problem.p not in (1, order):  # 1 is the default
        raise BadInputError(f"--p {problem.p:g}: {method} measures W{order} alone; leave it out")
    if problem.epsilon is not None and method != "sinkhorn":
        raise BadInputError(f"--epsilon: is for --method sinkhorn, not {method}; leave it out")
