"""Exact transport between clouds: agreement with an assignment, a linear program, and quantile functions."""

import math

import numpy as np
import ot
import pytest
import scipy.optimize
import torch
from hypothesis import given

from tests.transport.helpers import both_dtypes, few, masses, normal, orders, seeds, simplex, sizes
from wgan_cli.transport import dual_potentials, exact_plan, exact_wasserstein, wasserstein_1d


@few
@given(seed=seeds, n=sizes, p=orders)
def test_equal_sizes_agree_with_an_optimal_assignment(seed, n, p):
    x, y = normal(seed, n, 3), normal(seed + 1, n, 3)
    costs = (torch.cdist(x, y) ** p).numpy()
    cost = costs[scipy.optimize.linear_sum_assignment(costs)].mean()
    assert exact_wasserstein(x, y, p).item() == pytest.approx(cost ** (1 / p), rel=1e-9)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_weighted_clouds_agree_with_a_linear_program(seed, n, m, p):
    x, y, a, b = normal(seed, n, 2), normal(seed + 1, m, 2), masses(seed, n), masses(seed + 2, m)
    marginals = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    costs = (torch.cdist(x, y) ** p).numpy().ravel()
    program = scipy.optimize.linprog(costs, A_eq=marginals, b_eq=np.concatenate([simplex(a), simplex(b)]))
    assert exact_wasserstein(x, y, p, a, b).item() == pytest.approx(program.fun ** (1 / p), rel=1e-7)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_points_on_the_line_agree_with_quantile_functions(seed, n, m, p):
    x, y, a, b = normal(seed, n), normal(seed + 1, m), masses(seed, n), masses(seed + 2, m)
    exact = exact_wasserstein(x.unsqueeze(-1), y.unsqueeze(-1), p, a, b)
    torch.testing.assert_close(exact, wasserstein_1d(x, y, p, a, b))


@both_dtypes
def test_w1_of_a_shift_is_its_length_in_64_dimensions(dtype):
    x = normal(0, 30, 64).to(dtype)
    assert exact_wasserstein(x, x + 0.5).item() == pytest.approx(0.5 * math.sqrt(64), rel=1e-5)


@both_dtypes
@pytest.mark.parametrize("p", [1, 2])
def test_plan_has_uniform_marginals_and_the_cost_of_the_distance(dtype, p):
    x, y = normal(0, 6, 3).to(dtype), normal(1, 9, 3).to(dtype)
    plan = exact_plan(x, y, p)
    assert plan.shape == (6, 9)
    assert (plan >= 0).all()
    torch.testing.assert_close(plan.sum(1), torch.full((6,), 1 / 6, dtype=dtype))
    torch.testing.assert_close(plan.sum(0), torch.full((9,), 1 / 9, dtype=dtype))
    cost = (plan * torch.cdist(x, y) ** p).sum()
    torch.testing.assert_close(cost ** (1 / p), exact_wasserstein(x, y, p))


def test_unfinished_simplex_is_an_error(monkeypatch):
    solve = ot.emd
    monkeypatch.setattr(ot, "emd", lambda *inputs, **options: solve(*inputs, **options | {"numItermax": 3}))
    with pytest.raises(RuntimeError, match="exact solver did not finish"):
        exact_wasserstein(normal(0, 50, 2), normal(1, 50, 2))


@few
@given(seed=seeds, n=sizes, m=sizes)
def test_dual_potentials_reach_w1_and_keep_the_bound_of_each_pair(seed, n, m):
    x, y = 5 * normal(seed, n, 3), normal(seed + 1, m, 3) + 1
    f, g = dual_potentials(x, y)
    assert (f.mean() - g.mean()).item() == pytest.approx(exact_wasserstein(x, y).item(), rel=1e-9)
    assert (f[:, None] - g - torch.cdist(x, y)).max() < 1e-9


def test_dual_potentials_of_equal_points_are_equal():
    x = normal(0, 5, 2)
    f, g = dual_potentials(x, x)
    assert (f.mean() - g.mean()).item() == pytest.approx(0, abs=1e-12)


def test_dual_potentials_are_of_one_problem():
    with pytest.raises(ValueError, match="one problem"):
        dual_potentials(normal(0, 6, 2).reshape(2, 3, 2), normal(0, 6, 2).reshape(2, 3, 2))


@pytest.mark.parametrize("p", [1, 2])
def test_the_plan_on_the_line_is_the_monotone_one(p):
    x, y = (torch.randn(8, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in (0, 1))
    plan = exact_plan(x, y + 5, p)  # for p = 1, any plan costs the same
    ranks = plan[x[:, 0].argsort()][:, y[:, 0].argsort()]
    torch.testing.assert_close(ranks, torch.eye(8, dtype=torch.float64) / 8)
