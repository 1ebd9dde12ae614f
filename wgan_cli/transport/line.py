"""Transport on the line, exact through quantile functions, and the sliced distance that averages it over lines."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from wgan_cli.transport.shared import (
    broadcast,
    check_order,
    check_points,
    check_problem,
    check_weights,
    power_mean,
    root,
)


def wasserstein_1d(
    x: Tensor, y: Tensor, p: float = 1, x_weights: Tensor | None = None, y_weights: Tensor | None = None
) -> Tensor:
    """Exact W_p between samples on the line: (∫₀¹ |Qx(u) − Qy(u)|^p du)^(1/p), in the samples' unit.

    x (..., n), y (..., m) and weights of the same shapes give (...). The quantile functions Q are steps, so
    the integral is a sum over the at most n + m levels where either jumps (Santambrogio 2015, Optimal
    Transport for Applied Mathematicians, chapter 2). The gradient at distance zero is zero.
    """
    check_order(p)
    x_weights, y_weights, _ = check_problem(x, y, x_weights, y_weights, point_dims=1)
    gaps, widths = _quantile_gaps(x, y, x_weights, y_weights)
    return power_mean(gaps, widths, p)


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
    check_order(p)
    if p not in (1, 2):
        raise ValueError(f"p must be 1 or 2 against a normal, got {p}")
    check_points("x", x, point_dims=1)
    location = _normal_parameter("mean", mean, x)
    scale = _normal_parameter("std", std, x)
    if not (scale > 0).all():
        raise ValueError("std must be positive: the quantile function of a constant is no normal's")
    if x_weights is not None:
        x_weights = check_weights("x_weights", x_weights, "x", x, point_dims=1)
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
    return (scale * root(squared, 2)).to(x.dtype)


def _normal_parameter(name: str, value: float | Tensor, x: Tensor) -> Tensor:
    """`value` as a float64 tensor that broadcasts against the batch of x."""
    parameter = torch.as_tensor(value, dtype=torch.float64, device=x.device)
    broadcast(f"{name} and the batch of x", parameter.shape, x.shape[:-1])
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
    check_order(p)
    x_weights, y_weights, _ = check_problem(x, y, x_weights, y_weights, point_dims=2)
    if projections < 1:
        raise ValueError(f"projections must be at least 1, got {projections}")
    directions = _directions(x.shape[-1], projections, generator).to(x)
    gaps, widths = _quantile_gaps(
        (x @ directions).mT,
        (y @ directions).mT,
        None if x_weights is None else x_weights.unsqueeze(-2),
        None if y_weights is None else y_weights.unsqueeze(-2),
    )
    return power_mean(gaps.flatten(-2), (widths / projections).expand_as(gaps).flatten(-2), p)


def _directions(dimension: int, count: int, generator: torch.Generator | None) -> Tensor:
    """Unit vectors (dimension, count) in float64, so that clouds of either dtype see the same ones."""
    device = generator.device if generator is not None else torch.device("cpu")
    drawn = torch.randn(count, dimension, dtype=torch.float64, device=device, generator=generator)
    return (drawn / drawn.norm(dim=-1, keepdim=True)).T
