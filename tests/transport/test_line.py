"""Transport on the line and sliced transport: known answers, and agreement with SciPy and POT."""

import itertools
import math

import numpy as np
import ot
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from tests.transport.helpers import DOUBLE, both_dtypes, few, masses, normal, orders, seeds, simplex, sizes, tracked
from wgan_cli.transport import exact_wasserstein, sliced_wasserstein, wasserstein_1d, wasserstein_1d_normal
from wgan_cli.transport.line import random_directions

# --- between samples ---------------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_distance_of_a_shift_by_3_is_3(dtype, p):
    x = normal(0, 7, 100).to(dtype)
    torch.testing.assert_close(wasserstein_1d(x, x + 3, p), torch.full((7,), 3, dtype=dtype))


def test_unequal_sizes_computed_by_hand():
    # The plan between masses 1/3 and 1/2 moves 1/3 from 0 to 0, 1/6 from 1 to 0, 1/6 from 1 to 3, 1/3 from 2 to 3.
    x, y = torch.tensor([2.0, 0, 1]), torch.tensor([3.0, 0])
    assert wasserstein_1d(x, y).item() == pytest.approx(0 / 3 + 1 / 6 + 2 / 6 + 1 / 3)
    assert wasserstein_1d(x, y, 2).item() == pytest.approx(math.sqrt(0 / 3 + 1 / 6 + 4 / 6 + 1 / 3))


@few
@given(seed=seeds, n=sizes, m=sizes)
def test_w1_agrees_with_scipy(seed, n, m):
    x, y, a, b = normal(seed, n), normal(seed + 1, m), masses(seed, n), masses(seed + 2, m)
    expected = scipy.stats.wasserstein_distance(x, y, a, b)
    assert wasserstein_1d(x, y, 1, a, b).item() == pytest.approx(expected, rel=1e-9)
    expected = scipy.stats.wasserstein_distance(x, y)
    assert wasserstein_1d(x, y).item() == pytest.approx(expected, rel=1e-9)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_weighted_wp_agrees_with_pot(seed, n, m, p):
    x, y, a, b = normal(seed, n), normal(seed + 1, m), masses(seed, n), masses(seed + 2, m)
    cost = ot.wasserstein_1d(x.numpy(), y.numpy(), simplex(a), simplex(b), p=p)
    assert wasserstein_1d(x, y, p, a, b).item() == pytest.approx(cost ** (1 / p), rel=1e-9)


@few
@given(seed=seeds, counts=st.lists(st.integers(0, 4), min_size=2, max_size=8).filter(any))
def test_integer_weights_equal_repeated_samples(seed, counts):
    x, y = normal(seed, len(counts)), normal(seed + 1, 5)
    weights = torch.tensor(counts, dtype=DOUBLE)
    repeated = x.repeat_interleave(torch.tensor(counts))
    for p in (1, 2):
        torch.testing.assert_close(wasserstein_1d(x, y, p, weights), wasserstein_1d(repeated, y, p))


def test_weights_broadcast_over_the_batch_and_have_gradients():
    x, y, a, b = normal(0, 3, 5), normal(1, 4), masses(0, 5), masses(1, 4)
    each = torch.stack([wasserstein_1d(row, y, 2, a, b) for row in x])
    torch.testing.assert_close(wasserstein_1d(x, y, 2, a, b), each)
    assert gradcheck(lambda *given: wasserstein_1d(given[0], given[1], 2, *given[2:]), tracked(x, y, a, b))


def test_small_weight_far_away_keeps_its_mass_in_float32():
    """A cumulative sum of float32 weights would have an error of 6 % in the last weight."""
    x, a = torch.zeros(1000), torch.ones(1000)
    x[-1], a[-1] = 1e6, 1e-3
    assert wasserstein_1d(x, torch.zeros(1), 1, a).item() == pytest.approx(1e3 / 999.001, rel=1e-4)


# --- between samples and a normal --------------------------------------------------------------------------


@both_dtypes
def test_one_sample_at_the_mean_has_w1_equal_to_the_mean_deviation_and_w2_equal_to_the_std(dtype):
    x = torch.tensor([5.0], dtype=dtype)
    assert wasserstein_1d_normal(x, 5, 2).item() == pytest.approx(2 * math.sqrt(2 / math.pi))
    assert wasserstein_1d_normal(x, 5, 2, 2).item() == pytest.approx(2)
    assert wasserstein_1d_normal(x, 0, 1e-9).item() == pytest.approx(5)


def test_w1_of_samples_all_above_or_below_the_normal_is_the_difference_of_the_means():
    x = normal(0, 50) + 1000
    assert wasserstein_1d_normal(x, 3, 2).item() == pytest.approx(x.mean().item() - 3, rel=1e-12)
    assert wasserstein_1d_normal(-x, 3, 2).item() == pytest.approx(x.mean().item() + 3, rel=1e-12)


@few
@given(seed=seeds, n=sizes, mean=st.floats(-3, 3), std=st.floats(0.1, 3))
def test_normal_agrees_with_numerical_integration(seed, n, mean, std):
    x, a = normal(seed, n).sort().values, masses(seed, n)
    levels = np.concatenate([[0], np.cumsum(simplex(a))]).tolist()

    def step_cost(sample: float, lo: float, hi: float, p: int) -> float:
        def integrand(u: float) -> float:
            return abs(sample - (mean + std * scipy.special.ndtri(u))) ** p

        kink = scipy.special.ndtr((sample - mean) / std)  # each side of it is smooth
        pieces = itertools.pairwise([lo, *([kink] if lo < kink < hi else []), hi])
        return sum(scipy.integrate.quad(integrand, start, end, limit=200)[0] for start, end in pieces)

    for p in (1, 2):
        steps = zip(x.tolist(), itertools.pairwise(levels), strict=True)
        cost = sum(step_cost(sample, lo, hi, p) for sample, (lo, hi) in steps)
        assert wasserstein_1d_normal(x, mean, std, p, a).item() == pytest.approx(cost ** (1 / p), rel=1e-5)


@pytest.mark.parametrize("p", [1, 2])
def test_normal_agrees_with_400_000_of_its_quantiles(p):
    x = normal(0, 3, 40)
    quantiles = torch.special.ndtri((torch.arange(400_000, dtype=DOUBLE) + 0.5) / 400_000) * 0.5 + 1
    expected = wasserstein_1d(x, quantiles, p)
    torch.testing.assert_close(wasserstein_1d_normal(x, 1, 0.5, p), expected, rtol=1e-4, atol=0)


@both_dtypes
def test_small_distance_to_a_normal_is_accurate_in_float32_too(dtype):
    quantiles = torch.special.ndtri((torch.arange(100_000, dtype=DOUBLE) + 0.5) / 100_000)
    expected = wasserstein_1d_normal(quantiles, 0, 1).item()
    assert 0 < expected < 1e-4
    assert wasserstein_1d_normal(quantiles.to(dtype), 0, 1).item() == pytest.approx(expected, rel=1e-3)


def test_distance_to_a_normal_has_gradients_in_all_inputs_and_broadcasts():
    inputs = tracked(normal(0, 3, 5), normal(1, 3), 0.5 + masses(2, 3), masses(3, 5))
    for p in (1, 2):
        assert gradcheck(lambda x, mean, std, a, p=p: wasserstein_1d_normal(x, mean, std, p, a), inputs)
    x, mean, std, _ = inputs
    each = torch.stack([wasserstein_1d_normal(x[i], mean[i], std[i]) for i in range(3)])
    torch.testing.assert_close(wasserstein_1d_normal(x, mean, std), each)


# --- sliced ------------------------------------------------------------------------------------------------


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_sliced_agrees_with_pot_along_the_same_directions(seed, n, m, p):
    x, y, a, b = normal(seed, n, 4), normal(seed + 1, m, 4), masses(seed, n), masses(seed + 2, m)
    directions = random_directions(4, 20, torch.Generator().manual_seed(seed)).numpy()
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), simplex(a), simplex(b), p=p, projections=directions)
    actual = sliced_wasserstein(x, y, 20, p, torch.Generator().manual_seed(seed), a, b)
    assert actual.item() == pytest.approx(expected, rel=1e-9)


def test_directions_are_uniform_on_the_sphere():
    directions = random_directions(3, 20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(20_000, dtype=DOUBLE))
    second_moment = directions @ directions.T / 20_000
    torch.testing.assert_close(second_moment, torch.eye(3, dtype=DOUBLE) / 3, rtol=0, atol=0.01)
    torch.testing.assert_close(directions.mean(dim=1), torch.zeros(3, dtype=DOUBLE), rtol=0, atol=0.02)


def test_sliced_w2_of_a_shift_is_its_length_divided_by_the_root_of_the_dimension():
    x, shift = normal(0, 10, 4), torch.tensor([1.0, -2, 2, 4], dtype=DOUBLE)
    actual = sliced_wasserstein(x, x + shift, 20_000, 2, torch.Generator().manual_seed(0))
    assert actual.item() == pytest.approx(5 / math.sqrt(4), rel=0.02)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_sliced_is_at_most_exact_and_equals_it_in_one_dimension(seed, n, m, p):
    x, y = normal(seed, n, 3), normal(seed + 1, m, 3)
    assert sliced_wasserstein(x, y, 10, p) <= exact_wasserstein(x, y, p) + 1e-12
    on_line = sliced_wasserstein(x[:, :1], y[:, :1], 3, p)
    torch.testing.assert_close(on_line, wasserstein_1d(x[:, 0], y[:, 0], p))


def test_equal_generator_states_draw_equal_directions_for_both_dtypes():
    x, y = normal(0, 5, 3), normal(1, 5, 3)
    first = sliced_wasserstein(x, y, 4, generator=torch.Generator().manual_seed(7))
    assert torch.equal(sliced_wasserstein(x, y, 4, generator=torch.Generator().manual_seed(7)), first)
    single = sliced_wasserstein(x.float(), y.float(), 4, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(single.double(), first, rtol=1e-6, atol=0)
    assert sliced_wasserstein(x, y, 4, generator=torch.Generator().manual_seed(8)) != first
