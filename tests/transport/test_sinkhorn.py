"""Entropic transport and the Sinkhorn divergence: known answers, laws, convergence, gradients, and memory."""

import math
import subprocess
import sys
import warnings
from collections.abc import Callable

import numpy as np
import ot
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.transport.helpers import (
    ALONG,
    DOUBLE,
    FIVE,
    UP,
    both_dtypes,
    few,
    masses,
    normal,
    orders,
    seeds,
    shuffled,
    simplex,
    sizes,
    tracked,
)
from wgan_cli.transport import exact_wasserstein, sinkhorn, sinkhorn_divergence, wasserstein_1d
from wgan_cli.transport.costs import normalised
from wgan_cli.transport.sinkhorn import SINKHORN_MATRICES
from wgan_cli.transport.sinkhorn_solver import Limits, Problem, solve, solve_against_itself

# --- known answers -----------------------------------------------------------------------------------------


def moons(dtype: torch.dtype = DOUBLE) -> tuple[Tensor, Tensor]:
    """The two arcs of scikit-learn's make_moons(n_samples=30), 15 points each."""
    angle = torch.linspace(0, math.pi, 15, dtype=DOUBLE)
    upper = torch.stack([angle.cos(), angle.sin()], dim=-1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], dim=-1)
    return upper.to(dtype), lower.to(dtype)


@both_dtypes
@pytest.mark.parametrize(("epsilon", "cost"), [(0.1, 1.000), (1, 1.408)])
def test_cost_of_five_points_shifted_by_one(dtype, epsilon, cost):
    result = sinkhorn(FIVE.to(dtype), (FIVE + UP).to(dtype), epsilon)
    assert result.cost.item() == pytest.approx(cost, abs=5e-4)
    assert result.converged
    assert result.cost_matrix[0].tolist() == pytest.approx([1, 2, 5, 10, 17])


@pytest.mark.parametrize("direction", [UP, ALONG])
def test_costs_of_shifts_by_one_to_four_in_one_batch(direction):
    y = torch.stack([FIVE + shift * direction for shift in (1, 2, 3, 4)])
    result = sinkhorn(FIVE, y, 0.1)
    expected = torch.tensor([1.0001, 4.0001, 9.0000, 16.0000])
    torch.testing.assert_close(result.cost, expected, rtol=0, atol=1e-4)
    assert result.plan.shape == result.cost_matrix.shape == (4, 5, 5)
    assert result.marginal_error.shape == result.converged.shape == (4,)
    assert result.converged.all()


@both_dtypes
def test_cost_of_two_moons(dtype):
    upper, lower = moons(dtype)
    result = sinkhorn(upper, lower, 0.1)
    assert result.cost.item() == pytest.approx(1.7968, abs=5e-5)
    assert result.converged
    assert exact_wasserstein(upper, lower, 2).item() ** 2 == pytest.approx(1.7460, abs=5e-5)


def test_common_moons_cost_of_1_714_comes_from_a_plan_with_wrong_marginals():
    """Public code that stops once the potentials change by less than 0.1 finds a cost of 1.714.

    Its plan misplaces 3 % of the mass, so its cost is below the optimum. No plan with the right marginals has
    such a cost.
    """
    upper, lower = moons()
    cost, epsilon, mass = torch.cdist(upper, lower) ** 2, 0.1, math.log(1 / 15)
    f = g = torch.zeros(15, dtype=DOUBLE)
    for _ in range(100):
        before = f
        f = epsilon * (mass - ((g - cost) / epsilon).logsumexp(1))
        g = epsilon * (mass - ((f.unsqueeze(1) - cost) / epsilon).logsumexp(0))
        if (f - before).abs().sum() < 0.1:
            break
    plan = ((f.unsqueeze(1) + g - cost) / epsilon).exp()
    early = (plan * cost).sum().item()
    assert early == pytest.approx(1.714, abs=5e-4)
    assert early < exact_wasserstein(upper, lower, 2).item() ** 2
    assert (plan.sum(1) - 1 / 15).abs().sum() > 0.05
    result = sinkhorn(upper, lower, epsilon)
    assert (result.plan.sum(1) - 1 / 15).abs().sum() < 1e-5
    assert result.cost > exact_wasserstein(upper, lower, 2) ** 2


def test_cost_between_a_single_point_and_equal_points_is_that_of_their_distance():
    x, y = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    assert sinkhorn(x, y, 0.1).cost.item() == pytest.approx(25)
    assert sinkhorn(x, y, 0.1, 1).cost.item() == pytest.approx(5)
    assert sinkhorn(x, torch.zeros(3, 2), 0.1, 1).cost.item() == pytest.approx(5)


# --- laws --------------------------------------------------------------------------------------------------


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders, epsilon=st.sampled_from([0.05, 0.3, 2]))
def test_plan_agrees_with_pot(seed, n, m, p, epsilon):
    x, y, a, b = normal(seed, n, 2), normal(seed + 1, m, 2), masses(seed, n), masses(seed + 2, m)
    cost = (torch.cdist(x, y) ** p).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.sinkhorn(
            simplex(a), simplex(b), cost, epsilon, "sinkhorn_log", numItermax=20_000, stopThr=1e-8, log=True
        )
    result = sinkhorn(x, y, epsilon, p, a, b, tolerance=1e-9)
    assert result.converged
    if log["err"][-1] < 1e-8:  # POT does not converge where two parts of the clouds exchange almost no mass
        np.testing.assert_allclose(result.plan.numpy(), plan, atol=1e-5)
        assert result.cost.item() == pytest.approx((plan * cost).sum(), rel=1e-4)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders, relative=st.sampled_from([1e-4, 1e-2, 1, 100]))
def test_plan_has_the_given_marginals_and_the_returned_cost(seed, n, m, p, relative):
    x, y, a, b = normal(seed, n, 2), normal(seed + 1, m, 2) + 3, masses(seed, n), masses(seed + 2, m)
    epsilon = relative * (torch.cdist(x, y) ** p).mean().item()
    result = sinkhorn(x, y, epsilon, p, a, b, tolerance=1e-8)
    assert (result.plan >= 0).all()
    rows, columns = result.plan.sum(1) - a / a.sum(), result.plan.sum(0) - b / b.sum()
    error = rows.abs().sum() + columns.abs().sum()
    assert result.converged
    assert error <= 1e-8
    assert result.marginal_error.item() == pytest.approx(error.item(), abs=1e-14)
    torch.testing.assert_close(result.cost_matrix, torch.cdist(x, y) ** p)
    torch.testing.assert_close(result.cost, (result.plan * result.cost_matrix).sum())


@both_dtypes
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("relative", [1e-4, 1e-3, 1e-2])
def test_cost_at_small_epsilon_is_close_to_exact_transport(dtype, p, relative):
    """⟨P, C⟩ exceeds the optimum by at most epsilon · log n."""
    x, y = normal(0, 60, 2).to(dtype), (normal(1, 80, 2) * 0.5 + 1).to(dtype)
    epsilon = relative * (torch.cdist(x, y) ** p).mean().item()
    result = sinkhorn(x, y, epsilon, p)
    exact = exact_wasserstein(x, y, p).item() ** p
    assert result.converged
    slack = 1e-5 * result.cost_matrix.max().item()
    assert -slack <= result.cost.item() - exact <= epsilon * math.log(60) + slack


def test_plan_at_large_epsilon_is_the_product_of_the_marginals():
    x, y, a, b = normal(0, 5, 2), normal(1, 7, 2), masses(0, 5), masses(1, 7)
    product = torch.outer(a / a.sum(), b / b.sum())
    torch.testing.assert_close(sinkhorn(x, y, 1e6, 2, a, b).plan, product, rtol=1e-4, atol=0)


def test_cost_grows_with_epsilon():
    x, y = normal(0, 10, 2), normal(1, 12, 2)
    costs = [sinkhorn(x, y, epsilon, tolerance=1e-10).cost.item() for epsilon in (0.01, 0.1, 1, 10, 100)]
    assert costs == sorted(costs)


@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_symmetry_permutation_translation_and_scaling(seed, n, m, p):
    x, y = normal(seed, n, 2), normal(seed + 1, m, 2)
    xs = torch.stack([x, shuffled(seed, x, 0), x + 7])
    ys = torch.stack([y, shuffled(seed + 1, y, 0), y + 7])
    result = sinkhorn(xs, ys, 0.2, p, tolerance=1e-11)
    cost, permuted, translated = result.cost
    close = {"rtol": 1e-8, "atol": 1e-12}
    torch.testing.assert_close(permuted, cost, **close)
    torch.testing.assert_close(translated, cost, **close)
    swapped = sinkhorn(y, x, 0.2, p, tolerance=1e-11)
    torch.testing.assert_close(swapped.cost, cost, **close)
    torch.testing.assert_close(swapped.plan.mT, result.plan[0], rtol=1e-6, atol=1e-9)
    scaled = sinkhorn(3 * x, 3 * y, 0.2 * 3**p, p, tolerance=1e-11)
    torch.testing.assert_close(scaled.cost, cost * 3**p, **close)


def test_batch_equals_one_call_per_pair_and_a_batch_of_one_keeps_its_shape():
    x, scales = normal(0, 2, 3, 6, 2), torch.tensor([1, 10, 0.1], dtype=DOUBLE)
    y = normal(1, 3, 4, 2) * scales.view(3, 1, 1)
    a = masses(0, 3, 6)
    result = sinkhorn(x, y, 0.1, x_weights=a, tolerance=1e-10)
    assert result.plan.shape == (2, 3, 6, 4)
    for i in range(2):
        for j in range(3):
            one = sinkhorn(x[i, j], y[j], 0.1, x_weights=a[j], tolerance=1e-10)
            assert one.cost.shape == one.converged.shape == ()
            torch.testing.assert_close(result.cost[i, j], one.cost, rtol=1e-7, atol=0)
            torch.testing.assert_close(result.plan[i, j], one.plan, rtol=1e-5, atol=1e-9)
    single = sinkhorn(x[0, :1], y[0], 0.1)
    assert single.cost.shape == (1,)
    assert single.plan.shape == (1, 6, 4)
    torch.testing.assert_close(single.cost[0], sinkhorn(x[0, 0], y[0], 0.1).cost)


def test_reductions_of_the_cost():
    x, y = normal(0, 3, 6, 2), normal(1, 3, 4, 2)
    costs = sinkhorn(x, y, 0.5).cost
    assert costs.shape == (3,)
    torch.testing.assert_close(sinkhorn(x, y, 0.5, reduction="mean").cost, costs.mean())
    torch.testing.assert_close(sinkhorn(x, y, 0.5, reduction="sum").cost, costs.sum())
    with pytest.raises(ValueError, match="reduction must be none, mean or sum, got 'max'"):
        sinkhorn(x, y, 0.5, reduction="max")


@both_dtypes
def test_points_without_mass_change_nothing(dtype):
    x, y, a = normal(0, 6, 2).to(dtype), normal(1, 7, 2).to(dtype), masses(0, 6).to(dtype)
    a[2], b = 0, torch.tensor([1.0, 0, 0, 2, 1, 0, 1], dtype=dtype)
    with_them = sinkhorn(x, y, 0.05, 2, a, b)
    without = sinkhorn(x[a > 0], y[b > 0], 0.05, 2, a[a > 0], b[b > 0])
    assert with_them.converged
    assert with_them.iterations < 2 * without.iterations
    assert (with_them.plan[2] == 0).all()
    torch.testing.assert_close(with_them.cost, without.cost, rtol=1e-4, atol=0)
    torch.testing.assert_close(with_them.plan[a > 0][:, b > 0], without.plan, rtol=0, atol=1e-4)


# --- convergence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_iterations", [1, 2, 7, 30])
def test_warns_if_not_converged(max_iterations):
    x, y = normal(0, 30, 2), normal(1, 30, 2) + 2
    with pytest.warns(RuntimeWarning, match=f"not converged: after {max_iterations} iterations") as caught:
        result = sinkhorn(x, y, 1e-3, max_iterations=max_iterations)
    assert caught[0].filename == __file__
    assert result.iterations == max_iterations
    assert not result.converged
    assert result.marginal_error > 1e-5
    assert result.plan.isfinite().all()


@pytest.mark.filterwarnings("ignore:.*not converged")
@pytest.mark.parametrize("max_iterations", [1, 20, 60, 300])
@pytest.mark.parametrize("relative", [1e-6, 1e-4])
def test_plan_of_an_early_stop_at_a_tiny_epsilon_keeps_its_column_sums(relative, max_iterations):
    """The factors leave the range of float32 here. The solver falls back on updates in the log domain."""
    x, y, a = normal(0, 12, 2).float(), 5 * normal(1, 9, 2).float(), masses(0, 12).float() ** 8
    x[::3] += 30
    epsilon = relative * (torch.cdist(x, y) ** 2).mean().item()
    result = sinkhorn(x, y, epsilon, x_weights=a, max_iterations=max_iterations)
    torch.testing.assert_close(result.plan.sum(0), torch.full((9,), 1 / 9), rtol=0, atol=1e-2)
    assert result.marginal_error < 2


def test_convergence_is_reported_for_each_problem_of_a_batch():
    x, y = normal(0, 2, 30, 2), normal(1, 2, 30, 2)
    y[0] = x[0, :1]  # all mass goes to one place: the product of the marginals is an optimal plan
    with pytest.warns(RuntimeWarning, match="not converged"):
        result = sinkhorn(x, y, 1e-3, max_iterations=20)
    assert result.converged.tolist() == [True, False]


@both_dtypes
def test_clouds_that_exchange_almost_no_mass_converge_too(dtype):
    """Plain Sinkhorn needs more than 10,000 iterations to shift the potentials of the five points apart."""
    result = sinkhorn(FIVE.to(dtype), (FIVE + 3 * ALONG).to(dtype), 0.1)
    assert result.converged
    assert result.iterations < 500


# --- gradients ---------------------------------------------------------------------------------------------


def assert_gradients_match_finite_differences(
    function: Callable[..., Tensor], *inputs: Tensor, atol: float, rtol: float, step: float = 1e-6
) -> None:
    """Compare the Jacobian of `function` by autograd to central differences.

    `function` takes any batch (..., *shape) of the inputs and returns (..., outputs). torch's gradcheck calls the
    function for each entry of each input in turn; here one batch holds all of them, which is ten times faster.
    """
    outputs = len(function(*inputs))
    copies = tracked(*(each.expand(outputs, *each.shape) for each in inputs))
    function(*copies).diagonal().sum().backward()  # copy k gets the gradient of output k
    for index, (each, copy) in enumerate(zip(inputs, copies, strict=True)):
        steps = step * torch.eye(each.numel(), dtype=DOUBLE).view(-1, *each.shape)
        above, below = (
            function(*inputs[:index], shifted, *inputs[index + 1 :]) for shifted in (each + steps, each - steps)
        )
        differences = (above - below) / (2 * step)
        torch.testing.assert_close(copy.grad.flatten(1).mT, differences, atol=atol, rtol=rtol)


@pytest.mark.parametrize("p", [1, 1.5, 2])
@pytest.mark.parametrize("epsilon", [0.05, 1])
def test_gradients_of_cost_and_plan_in_points_and_weights(p, epsilon):
    def cost_and_plan(x, y, a, b):
        result = sinkhorn(x, y, epsilon, p, a, b, tolerance=1e-12)
        return torch.cat([result.cost, result.plan.flatten(-3)], dim=-1)

    inputs = normal(0, 2, 4, 2), normal(1, 1, 5, 2) + 1, masses(0, 1, 4), masses(1, 2, 5)
    assert_gradients_match_finite_differences(cost_and_plan, *inputs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("p", [1, 2])
def test_gradient_of_divergence_in_points_and_weights(p):
    def divergence(x, y, a, b):
        return sinkhorn_divergence(x, y, 0.3, p, a, b, tolerance=1e-11)

    inputs = normal(0, 2, 4, 2), normal(1, 1, 5, 2) + 1, masses(0, 1, 4), masses(1, 1, 5)
    assert_gradients_match_finite_differences(divergence, *inputs, atol=1e-5, rtol=1e-3)


def test_gradient_of_cost_includes_the_change_of_the_plan():
    """At a large epsilon the plan moves with the points. The envelope theorem would leave this part out."""
    x, y = tracked(normal(0, 5, 2), normal(1, 5, 2))
    result = sinkhorn(x, y, 1.0, tolerance=1e-12)
    (whole,) = torch.autograd.grad(result.cost, x, retain_graph=True)
    (envelope,) = torch.autograd.grad((result.plan.detach() * result.cost_matrix).sum(), x)
    assert (whole - envelope).norm() > 0.1 * whole.norm()


@both_dtypes
@pytest.mark.parametrize("p", [1, 2])
def test_gradient_is_finite_where_points_coincide(dtype, p):
    (x,) = tracked(normal(0, 6, 2).to(dtype))
    sinkhorn(x, x.detach(), 0.1, p).cost.backward()
    assert x.grad.isfinite().all()
    (x,) = tracked(normal(0, 6, 2).to(dtype))
    sinkhorn_divergence(x, x.detach(), 0.1, p).backward()
    torch.testing.assert_close(x.grad, torch.zeros_like(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", [17, 61, 130])
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 2e-3), (DOUBLE, 3e-4)])
def test_gradient_between_equal_clouds_is_small_for_an_almost_singular_system(seed, dtype, relative):
    """If the plan is almost the identity, the right side of the system is rounding, which must not be amplified."""
    (x,) = tracked(torch.randn(12, 2, generator=torch.Generator().manual_seed(seed)).to(dtype))
    epsilon = relative * (torch.cdist(x, x) ** 2).mean().item()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    sinkhorn(x, x.detach(), epsilon, tolerance=tolerance).cost.backward()
    assert x.grad.norm() < 0.02


@pytest.mark.parametrize("relative", [1e-3, 1e-2, 0.1])
def test_gradients_in_float32_and_float64_agree(relative):
    x, y = normal(0, 40, 2), normal(1, 50, 2) + 1
    epsilon = relative * (torch.cdist(x, y) ** 2).mean().item()
    gradients = []
    for dtype, tolerance in ((torch.float32, 1e-6), (DOUBLE, 1e-10)):
        (cloud,) = tracked(x.to(dtype))
        sinkhorn(cloud, y.to(dtype), epsilon, tolerance=tolerance).cost.backward()
        gradients.append(cloud.grad.double())
    assert (gradients[0] - gradients[1]).norm() < 0.02 * gradients[1].norm()


def test_gradient_of_a_shift_at_small_epsilon_is_the_shift():
    """Each point stays with its partner, so the cost is ‖t‖² and its gradient is −2t/n at each point."""
    (x,) = tracked(FIVE.double() * 3)
    sinkhorn(x, x.detach() + 4, 0.1, tolerance=1e-10).cost.backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, -2 * 4 / 5))


# --- divergence --------------------------------------------------------------------------------------------


@few
@given(seed=seeds, n=sizes, m=sizes, p=st.sampled_from([1, 1.5, 2]), epsilon=st.sampled_from([1, 10]))
def test_divergence_agrees_with_pot(seed, n, m, p, epsilon):
    x, y, a, b = normal(seed, n, 2), normal(seed + 1, m, 2) + 1, masses(seed, n), masses(seed + 2, m)

    def regularised(x, y, a, b):
        cost = (torch.cdist(x, y) ** p).numpy()
        arguments = {"reg": epsilon, "reg_type": "KL", "max_iter": 5_000, "tol": 1e-8}
        return ot.solve(cost, a=simplex(a), b=simplex(b), **arguments).value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = regularised(x, y, a, b) - (regularised(x, x, a, a) + regularised(y, y, b, b)) / 2
    actual = sinkhorn_divergence(x, y, epsilon, p, a, b, tolerance=1e-9)
    assert actual.item() == pytest.approx(expected, abs=1e-5)


@few
@given(seed=seeds, n=sizes, p=st.sampled_from([1, 1.5, 2, 4]), relative=st.sampled_from([1e-4, 1e-2, 1, 100]))
def test_a_cloud_against_itself_is_solved_as_any_other_problem(seed, n, p, relative):
    x, a = normal(seed, 2, n + 1, 3), masses(seed, 2, n + 1)
    a[0, 0] = 0
    cost = torch.cdist(x, x) ** p
    epsilon, limits = relative * (cost.mean().item() or 1), Limits(5000, 1e-10)
    a = normalised(a)
    problem = Problem(cost, a, a, epsilon)
    found, other = solve_against_itself(cost, a, epsilon, limits), solve(problem, limits)
    assert (found.error <= 1e-10).all()
    assert found.iterations <= 60
    assert torch.allclose(found.plan, found.plan.mT, atol=1e-15)
    assert torch.allclose(found.plan, other.plan, atol=1e-8)


@both_dtypes
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1, 10])
def test_divergence_is_zero_between_equal_clouds_and_positive_between_others(dtype, p, epsilon):
    x = normal(0, 3, 20, 2).to(dtype)
    assert torch.equal(sinkhorn_divergence(x, x, epsilon, p), torch.zeros(3, dtype=dtype))
    reordered = sinkhorn_divergence(x, shuffled(0, x, 1), epsilon, p)
    assert (reordered >= 0).all()
    assert (reordered < 1e-4).all()
    assert (sinkhorn_divergence(x, x + 0.3, epsilon, p) > 1e-3).all()


@both_dtypes
@pytest.mark.parametrize("epsilon", [0.1, 1, 10])
def test_divergence_of_a_shift_is_its_squared_length_at_any_epsilon(dtype, epsilon):
    x, shift = normal(0, 20, 2).to(dtype), torch.tensor([1.0, 2.0], dtype=dtype)
    assert sinkhorn_divergence(x, x + shift, epsilon).item() == pytest.approx(5, abs=1e-4)


def test_divergence_is_w1_at_small_and_half_the_energy_distance_at_large_epsilon():
    x, y = normal(0, 20, 1), normal(1, 30, 1) * 2 + 1
    nearly_exact = sinkhorn_divergence(x, y, 1e-3, 1).item()
    assert nearly_exact == pytest.approx(wasserstein_1d(x[:, 0], y[:, 0]).item(), abs=5e-3)
    half_energy = scipy.stats.energy_distance(x[:, 0], y[:, 0]) ** 2 / 2
    assert sinkhorn_divergence(x, y, 1e4, 1).item() == pytest.approx(half_energy, rel=1e-3)


def test_divergence_warns_if_not_converged():
    with pytest.warns(RuntimeWarning, match="sinkhorn_divergence has not converged") as caught:
        sinkhorn_divergence(normal(0, 30, 2), normal(1, 30, 2), 1e-3, max_iterations=3)
    assert caught[0].filename == __file__


# --- memory ------------------------------------------------------------------------------------------------

PRINT_PEAK_MEMORY = """
import re, warnings, torch
from pathlib import Path
from wgan_cli.transport import sinkhorn

warnings.simplefilter("ignore")  # four iterations do not converge, but need as much memory as thousands

def peak():  # in kB, of this process alone: getrusage would include the memory of its parent
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

generator = torch.Generator().manual_seed(0)
x, y = (torch.randn(4096, 2, generator=generator, requires_grad=True) for _ in "xy")
sinkhorn(x[:9], y[:9], 1.0).cost.backward()
before = peak()
sinkhorn(x, y, 1.0, max_iterations=4, tolerance=1e-9).cost.backward()
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc/self/status")
def test_4096_by_4096_points_and_their_gradient_fit_in_2_gib():
    done = subprocess.run([sys.executable, "-c", PRINT_PEAK_MEMORY], capture_output=True, text=True, check=True)
    peak, matrix = int(done.stdout), 4096 * 4096 * 4 / 1024  # kB
    assert 2 * matrix < peak < 2 * 1024**2
    assert peak < SINKHORN_MATRICES * matrix * 1.05
