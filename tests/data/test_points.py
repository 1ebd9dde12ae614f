import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from tests.helpers import next_batch
from wgan_cli.config.load import load_config
from wgan_cli.data import Points
from wgan_cli.errors import BadInputError

SHAPES = ["ring", "grid", "swiss_roll", "moons", "spirals", "checkerboard"]
CURVES = ["swiss_roll", "moons", "spirals"]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(count: int = 20_000, **fields: Any) -> Tensor:
    return Points.model_validate(fields).draw(count, stream())


def nearest(samples: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of each sample to its nearest centre, and the number of that centre."""
    found = torch.cdist(samples, centres).min(1)
    return found.values, found.indices


def test_the_ring_is_that_of_veegan_and_pacgan() -> None:
    centres = Points(shape="ring").centres()
    assert centres is not None
    assert centres.norm(dim=1).tolist() == pytest.approx([1] * 8)
    angles = torch.atan2(centres[:, 1], centres[:, 0]).remainder(2 * math.pi).sort().values
    assert angles.tolist() == pytest.approx([i * math.pi / 4 for i in range(8)], abs=1e-6)
    _, mode = nearest(points(), centres)
    offsets = points() - centres[mode]
    assert offsets.std(0).tolist() == pytest.approx([0.01, 0.01], rel=0.02)


def test_the_grid_is_that_of_veegan_and_pacgan() -> None:
    centres = Points(shape="grid").centres()
    assert centres is not None
    assert sorted(centres.tolist()) == [[x, y] for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)]
    _, mode = nearest(points(shape="grid"), centres)
    offsets = points(shape="grid") - centres[mode]
    assert offsets.std(0).tolist() == pytest.approx([0.05, 0.05], rel=0.02)


@pytest.mark.parametrize(
    ("fields", "modes", "std"),
    [
        ({"shape": "ring"}, 8, 0.01),
        ({"shape": "grid"}, 25, 0.05),
        ({"shape": "ring", "modes": 5, "radius": 3.0, "std": 0.2}, 5, 0.2),
        ({"shape": "grid", "modes": 9, "spacing": 0.5, "std": 0.02}, 9, 0.02),
        ({"shape": "grid", "modes": 1}, 1, 0.05),
    ],
)
def test_every_mode_gets_its_share_and_is_normal(fields: dict[str, Any], modes: int, std: float) -> None:
    centres = Points.model_validate(fields).centres()
    assert centres is not None
    samples = points(**fields)
    distance, mode = nearest(samples, centres)
    assert len(centres) == modes
    if modes > 1:
        assert stats.chisquare(mode.bincount(minlength=modes).numpy()).pvalue > 1e-3
    within = (distance <= 3 * std).double().mean().item()
    assert within == pytest.approx(1 - math.exp(-4.5), abs=0.003)  # 98.89 %, PacGAN's share of real points
    offsets = ((samples - centres[mode]) / std).numpy()
    assert stats.kstest(offsets[:, 0], "norm").pvalue > 1e-3
    assert stats.kstest(offsets[:, 1], "norm").pvalue > 1e-3


def test_radius_and_spacing_scale_the_centres() -> None:
    ring, grid = (
        Points(shape="ring", modes=4, radius=2.5).centres(),
        Points(shape="grid", modes=4, spacing=3.0).centres(),
    )
    assert ring is not None
    assert grid is not None
    assert ring.norm(dim=1).tolist() == pytest.approx([2.5] * 4)
    assert sorted(grid.tolist()) == [[-1.5, -1.5], [-1.5, 1.5], [1.5, -1.5], [1.5, 1.5]]


def test_the_swiss_roll_is_scikit_learns_divided_by_seven_and_a_half() -> None:
    samples = points(shape="swiss_roll", std=0.0).double() * 7.5
    t = samples.norm(dim=1)  # scikit-learn: t = 1.5 π (1 + 2 u), x = t cos t, z = t sin t
    expected = torch.stack([t * t.cos(), t * t.sin()], 1)
    assert samples.numpy() == pytest.approx(expected.numpy(), abs=1e-3)
    assert stats.kstest(t.numpy(), stats.uniform(1.5 * math.pi, 3 * math.pi).cdf).pvalue > 1e-3


def test_the_moons_are_scikit_learns() -> None:
    x, y = points(shape="moons", std=0.0).double().numpy().T
    outer = np.isclose(x**2 + y**2, 1, atol=1e-5) & (y >= -1e-6)
    inner = np.isclose((x - 1) ** 2 + (y - 0.5) ** 2, 1, atol=1e-5) & (y <= 0.5 + 1e-6)
    assert (outer | inner).all()
    assert outer.mean() == pytest.approx(0.5, abs=0.02)
    angle = np.arctan2(y[outer], x[outer])
    assert stats.kstest(angle, stats.uniform(0, math.pi).cdf).pvalue > 1e-3


def test_the_spirals_are_two_arms_uniform_in_area() -> None:
    samples = points(shape="spirals", std=0.0).double()
    radius = samples.norm(dim=1)
    assert stats.kstest((radius / math.pi).square().numpy(), "uniform").pvalue > 1e-3
    arm = torch.stack([(3 * radius).cos(), (3 * radius).sin()], 1) * radius[:, None]
    first, second = ((samples - sign * arm).norm(dim=1) < 1e-4 for sign in (1, -1))
    assert (first | second).all()
    assert first.double().mean().item() == pytest.approx(0.5, abs=0.02)


def test_the_checkerboard_fills_its_dark_fields_alone_and_evenly() -> None:
    samples = points(shape="checkerboard")
    assert samples.abs().max() <= 2
    column, row = (samples + 2).floor().clamp(max=3).long().T
    assert ((row - column) % 2 == 0).all()
    counts = (4 * row + column).bincount(minlength=16)
    assert (counts > 0).sum() == 8
    assert stats.chisquare(counts[counts > 0].numpy()).pvalue > 1e-3
    inside = (samples + 2).remainder(1)
    assert all(stats.kstest(inside[:, axis].numpy(), "uniform").pvalue > 1e-3 for axis in (0, 1))


@pytest.mark.parametrize(
    ("shape", "default"), [("swiss_roll", 0.25 / 7.5), ("moons", 0.1), ("spirals", 0.1), ("checkerboard", 0.0)]
)
def test_noise_of_the_default_spread_is_added_to_a_curve(shape: str, default: float) -> None:
    clean = points(shape=shape, std=0.0)
    for fields, std in (({}, default), ({"std": 0.5}, 0.5)):
        offsets = points(shape=shape, **fields) - clean
        assert offsets.std(0).tolist() == pytest.approx([std, std], rel=0.02)


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_are_endless_and_of_their_stream_alone(shape: str) -> None:
    dataset = Points.model_validate({"shape": shape}).load(torch.device("cpu"))
    one, other = dataset.batches(16, stream()), dataset.batches(16, stream())
    first = next_batch(one)
    assert first.shape == (16, 2)
    assert torch.equal(first, next_batch(other))
    assert not torch.equal(first, next_batch(one))
    assert dataset.heldout() is None


def test_ranks_share_a_batch() -> None:
    dataset = Points().load(torch.device("cpu"))
    whole = next_batch(dataset.batches(16, stream()))
    shares = [next_batch(dataset.batches(16, stream(), share)) for share in (slice(0, 8), slice(8, 16))]
    assert torch.equal(torch.cat(shares), whole)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((f"shape: {shape}, modes: 4", f"modes has no meaning for shape: {shape}") for shape in SHAPES[2:]),
        ("shape: grid, radius: 1", "radius has no meaning for shape: grid"),
        ("shape: ring, spacing: 1", "spacing has no meaning for shape: ring"),
        ("shape: moons, spacing: 1", "spacing has no meaning for shape: moons"),
        ("shape: grid, modes: 8", "modes of grid must be a square number, such as 25, but is 8"),
        ("modes: 0", "data.modes: must be greater than or equal to 1, but is 0"),
        ("std: -1", "data.std: must be greater than or equal to 0, but is -1"),
        ("radius: 0", "data.radius: must be greater than 0, but is 0"),
        ("shape: rong", "data.shape: must be 'ring', 'grid'"),
    ],
)
def test_keys_that_a_shape_would_ignore_are_refused(text: str, message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        load_config("normal_gp", [f"data={{kind: points, {text}}}"])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Value error" not in str(caught.value)
