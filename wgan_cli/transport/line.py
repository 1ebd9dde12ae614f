"""Exact transport on the line by quantile functions, and the sliced distance, a mean over random directions."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from wgan_cli.transport.checks import check_normal, check_order, check_points, check_problem, check_weights
from wgan_cli.transport.costs import normalised, power_mean, root


def wasserstein_1d(
    x: Tensor, y: Tensor, p: float = 1, x_weights: Tensor | None = None, y_weights: Tensor | None = None
) -> Tensor:
    """Exact W_p between samples on the line: (∫₀¹ |Qx(u) − Qy(u)|^p du)^(1/p), in the unit of the samples.

    x (..., n), y (..., m) and weights of the same shapes give (...). The quantile functions Q are step functions,
    so the integral is a sum over the at most n + m levels u where Qx or Qy jumps (Santambrogio 2015, Optimal
    Transport for Applied Mathematicians, chapter 2). At distance zero the gradient is zero.
    """
    check_order(p)
    check_problem(x, y, x_weights, y_weights, point_dims=1)
    gaps, widths = _quantile_gaps(x, y, x_weights, y_weights)
    return power_mean(gaps, widths, p)


def wasserstein_1d_normal(
    x: Tensor, mean: float | Tensor, std: float | Tensor, p: float = 1, x_weights: Tensor | None = None
) -> Tensor:
    """Exact W_p, p = 1 or 2, between samples x (..., n) and the normal N(mean, std²), in the unit of the samples.

    No random numbers are drawn: both integrals over the normal's quantile function have a closed form. They are
    computed in float64, because terms of neighbouring levels almost cancel. `mean` and `std` (positive) broadcast
    against the batch.
    """
    check_order(p)
    if p not in (1, 2):
        raise ValueError(f"p must be 1 or 2 against a normal, got {p}")
    check_points("x", x, point_dims=1)
    location = torch.as_tensor(mean, dtype=torch.float64, device=x.device)
    scale = torch.as_tensor(std, dtype=torch.float64, device=x.device)
    check_normal(location, scale, x)
    if x_weights is not None:
        check_weights("x_weights", x_weights, "x", x, point_dims=1)

    ordered, levels = _quantile_steps(x.double(), x_weights)
    z = (ordered - location.unsqueeze(-1)) / scale.unsqueeze(-1)
    distance = _standard_normal_w1(z, levels) if p == 1 else root(_standard_normal_w2_squared(z, levels), 2)
    return (scale * distance).to(x.dtype)


def _standard_normal_w1(z: Tensor, levels: Tensor) -> Tensor:
    """∫₀¹ |Q(u) − Φ⁻¹(u)| du, where Q is z_i on the levels from lo_i to hi_i.

    With Φ and φ the distribution function and density of the normal, φ(u) short for φ(Φ⁻¹(u)), and
    ∫ Φ⁻¹(u) du = −φ(u), the integral over one step is
        z (2t − lo − hi) + 2φ(t) − φ(lo) − φ(hi), with t = Φ(z) clamped to [lo, hi].
    """
    inner, lo_density, hi_density = _at_levels(levels)
    lo, hi = pad(levels[..., :-1], (1, 0)), levels
    # Φ⁻¹ crosses the step here: at lower levels the step is above it, at higher levels below it.
    crossing = z.clamp(pad(inner, (1, 0), value=-math.inf), pad(inner, (0, 1), value=math.inf))
    at_crossing = torch.special.ndtr(crossing)
    terms = z * (2 * at_crossing - lo - hi) + 2 * _normal_density(crossing) - lo_density - hi_density
    return terms.sum(-1)


def _standard_normal_w2_squared(z: Tensor, levels: Tensor) -> Tensor:
    """∫₀¹ (Q(u) − Φ⁻¹(u))² du = Σ z² (hi − lo) + 2z (φ(hi) − φ(lo)) + 1, with names as in `_standard_normal_w1`."""
    _, lo_density, hi_density = _at_levels(levels)
    widths = levels.diff(dim=-1, prepend=torch.zeros_like(levels[..., :1]))
    return (widths * z**2 + 2 * z * (hi_density - lo_density)).sum(-1) + 1


def _at_levels(levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Φ⁻¹ of the inner levels, and the density φ at the lower and at the upper level of each step.

    At the outer levels 0 and 1, Φ⁻¹ is infinite and φ is 0. They are filled in, not computed, because the
    derivative there would be 0 · ∞.
    """
    inner = torch.special.ndtri(levels[..., :-1].clamp(1e-300, 1 - 2**-53))
    density = pad(_normal_density(inner), (1, 1))
    return inner, density[..., :-1], density[..., 1:]


def _normal_density(z: Tensor) -> Tensor:
    return torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _quantile_steps(x: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """The steps of a quantile function: samples in ascending order, and the level in (0, 1] where each step ends.

    Levels are float64, because float32 can't tell the levels of a large sample apart.
    """
    ordered, order = x.sort(dim=-1)
    if weights is None:
        n = x.shape[-1]
        return ordered, torch.arange(1, n + 1, dtype=torch.float64, device=x.device) / n
    shape = torch.broadcast_shapes(x.shape, weights.shape)
    mass = normalised(weights).expand(shape).double().gather(-1, order.expand(shape)).cumsum(dim=-1)
    return ordered.expand(shape), mass / mass[..., -1:]


def _quantile_gaps(x: Tensor, y: Tensor, x_weights: Tensor | None, y_weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """|Qx − Qy| on each interval of levels without a jump, (..., k), and the width of that interval."""
    if x_weights is None and y_weights is None:
        return _uniform_quantile_gaps(x, y)
    (x, x_levels), (y, y_levels) = _quantile_steps(x, x_weights), _quantile_steps(y, y_weights)
    batch = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1])
    x, x_levels, y, y_levels = (each.expand(*batch, -1) for each in (x, x_levels, y, y_levels))
    levels = torch.cat([x_levels, y_levels], dim=-1).sort(dim=-1).values
    widths = levels.diff(dim=-1, prepend=torch.zeros_like(levels[..., :1])).to(x.dtype)
    at = levels.detach()
    x_index = torch.searchsorted(x_levels.detach().contiguous(), at).clamp(max=x.shape[-1] - 1)
    y_index = torch.searchsorted(y_levels.detach().contiguous(), at).clamp(max=y.shape[-1] - 1)
    return (x.gather(-1, x_index) - y.gather(-1, y_index)).abs(), widths


def _uniform_quantile_gaps(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """`_quantile_gaps` without weights."""
    n, m = x.shape[-1], y.shape[-1]
    x, y = x.sort(dim=-1).values, y.sort(dim=-1).values
    if n == m:
        return (x - y).abs(), x.new_full((n,), 1 / n)
    # In units of 1/(n m) all levels are whole numbers, so equal levels of x and y compare as equal.
    steps = torch.arange(1, max(n, m) + 1, device=x.device)
    levels = torch.cat([steps[:n] * m, steps[:m] * n]).unique()
    widths = levels.diff(prepend=levels.new_zeros(1)).to(x.dtype) / (n * m)
    return (x[..., (levels - 1) // m] - y[..., (levels - 1) // n]).abs(), widths


def sliced_wasserstein(
    x: Tensor,
    y: Tensor,
    projections: int = 256,
    p: float = 1,
    generator: torch.Generator | None = None,
    x_weights: Tensor | None = None,
    y_weights: Tensor | None = None,
) -> Tensor:
    """Sliced W_p: (mean over random directions θ of W_p(θ·x, θ·y)^p)^(1/p), a distance, in the unit of the points.

    x (..., n, D), y (..., m, D), weights (..., n) and (..., m) give (...). The `projections` directions are
    uniform on the sphere, and every problem of the batch uses the same ones. The same generator state draws the
    same directions, so two distances can be compared along equal directions. The error falls as 1/√projections
    (Bonneel et al. 2015, Sliced and Radon Wasserstein Barycenters of Measures).
    """
    check_order(p)
    check_problem(x, y, x_weights, y_weights, point_dims=2)
    if projections < 1:
        raise ValueError(f"projections must be at least 1, got {projections}")
    directions = random_directions(x.shape[-1], projections, generator).to(x)
    gaps, widths = _quantile_gaps(
        (x @ directions).mT,
        (y @ directions).mT,
        None if x_weights is None else x_weights.unsqueeze(-2),
        None if y_weights is None else y_weights.unsqueeze(-2),
    )
    return power_mean(gaps.flatten(-2), (widths / projections).expand_as(gaps).flatten(-2), p)


def random_directions(dimension: int, count: int, generator: torch.Generator | None) -> Tensor:
    """Unit vectors (dimension, count), uniform on the sphere.

    They are drawn in float64, so that float32 and float64 clouds get the same directions.
    """
    device = generator.device if generator is not None else torch.device("cpu")
    drawn = torch.randn(count, dimension, dtype=torch.float64, device=device, generator=generator)
    return (drawn / drawn.norm(dim=-1, keepdim=True)).T
