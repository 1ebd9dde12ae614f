import re
from typing import Any

import ot
import pytest
import torch
from scipy import stats

from wgan_cli.errors import BadInputError, WganError
from wgan_cli.evaluation.critic_fit import CriticFit
from wgan_cli.evaluation.distances import METHODS, WITH_PLAN, Problem, measure
from wgan_cli.lipschitz import Unbounded
from wgan_cli.networks import MlpCritic
from wgan_cli.optimizers import Adam


def normal(count: int, features: int, seed: int) -> torch.Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_exact_and_1d_agree_with_scipy_and_pot(p: float) -> None:
    x, y = normal(40, 1, 0), normal(30, 1, 1) * 2 + 1
    expected = ot.wasserstein_1d(x[:, 0].numpy(), y[:, 0].numpy(), p=p) ** (1 / p)
    for method in ("exact", "1d"):
        assert measure(Problem(x, y, p=p), method).figures[f"w{p:g}"] == pytest.approx(expected, rel=1e-9)
    if p == 1:
        assert expected == pytest.approx(stats.wasserstein_distance(x[:, 0], y[:, 0]))


def test_every_method_of_w1_or_w2_measures_the_length_of_a_shift() -> None:
    x = normal(64, 3, 0)
    shift = torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64)
    problem = Problem(x, x + shift)
    assert measure(problem, "exact").figures["w1"] == pytest.approx(2)
    assert measure(problem, "gaussian").figures["gaussian_w2"] == pytest.approx(2)
    assert measure(problem, "gaussian").figures["gaussian_w2_squared"] == pytest.approx(4)
    found = measure(Problem(x, x + shift, p=2, epsilon=0.01), "sinkhorn")
    assert found.figures["sinkhorn_cost"] == pytest.approx(4, abs=0.01)
    assert found.figures["sinkhorn_divergence"] == pytest.approx(4, abs=0.01)
    assert found.figures["converged"] is True


def test_a_sliced_shift_is_its_length_times_the_mean_cosine() -> None:
    x = normal(200, 3, 0)
    shifted = x + torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64)
    found = measure(Problem(x, shifted), "sliced").figures["sliced_w1"]
    assert found == pytest.approx(2 * 0.5, rel=0.1)  # the mean of |cos| over the sphere is 1/2
    assert measure(Problem(x, shifted, seed=1), "sliced").figures["sliced_w1"] != found


def test_plans_have_the_sets_as_their_margins() -> None:
    x, y = normal(12, 2, 0), normal(9, 2, 1)
    for method in WITH_PLAN:
        plan = measure(Problem(x, y), method).plan
        assert plan is not None
        torch.testing.assert_close(plan.sum(1), torch.full((12,), 1 / 12, dtype=torch.float64), atol=1e-5, rtol=0)
        torch.testing.assert_close(plan.sum(0), torch.full((9,), 1 / 9, dtype=torch.float64), atol=1e-5, rtol=0)


def test_exact_distances_on_the_line_need_no_plan_and_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(300, 1, 0), normal(200, 1, 1) + 1
    with_plan = measure(Problem(x, y, with_plan=True), "exact")
    monkeypatch.setattr("wgan_cli.transport.checks.free_memory", lambda device: 10_000)
    alone = measure(Problem(x, y), "exact")
    assert alone.plan is None
    assert alone.figures["w1"] == pytest.approx(with_plan.figures["w1"], rel=1e-12)
    with pytest.raises(BadInputError, match="10,000 free: take fewer points"):
        measure(Problem(x, y, with_plan=True), "exact")


def test_the_chosen_critic_is_trained_on_all_points() -> None:
    """So with one fit or several, `critic` measures the same two sets."""
    good = CriticFit(steps=200, batch_size=64, critic=MlpCritic(hidden=(16,)), average=0.9)
    poor = good.model_copy(update={"steps": 1})
    x, y = normal(200, 2, 0), normal(200, 2, 1) + 2
    alone, chosen = (measure(Problem(x, y, fits=fits), "critic").figures for fits in ([good], [poor, good]))
    assert alone == chosen


@pytest.mark.parametrize(
    ("settings", "method", "message"),
    [
        ({"p": 2}, "critic", "--p 2: critic measures W1 alone; leave it out"),
        ({"p": 2}, "bounds", "--p 2: bounds measures W1 alone; leave it out"),
        ({"p": 3}, "gaussian", "--p 3: gaussian measures W2 alone; leave it out"),
        ({"epsilon": 0.1}, "exact", "--epsilon: is for --method sinkhorn, not exact; leave it out"),
    ],
)
def test_settings_that_a_method_does_not_read_are_refused(settings: Any, method: str, message: str) -> None:
    with pytest.raises(BadInputError, match=re.escape(message)):
        measure(Problem(normal(20, 2, 0), normal(20, 2, 1), **settings), method)
    assert measure(Problem(normal(20, 2, 0), normal(20, 2, 1), p=2), "gaussian").figures


def test_figures_that_are_not_finite_are_an_error() -> None:
    """A critic without any strategy, at a rate at which it diverges."""
    fit = CriticFit(critic=MlpCritic(hidden=(8,)), lipschitz=Unbounded(), optimizer=Adam(lr=1e30), steps=20)
    with pytest.raises(WganError, match=r"--method critic: \w+ is (nan|inf|-inf); scale the samples"):
        measure(Problem(normal(20, 2, 0), normal(20, 2, 1), fits=[fit]), "critic")


def test_the_critics_figures_have_their_names() -> None:
    fit = CriticFit(steps=20, batch_size=16, critic=MlpCritic(hidden=(8,)))
    figures = measure(Problem(normal(50, 2, 0), normal(50, 2, 1) + 3, fits=[fit]), "critic").figures
    assert list(figures) == ["gap", "lipschitz", "w1_estimate"]
    assert figures["gap"] == pytest.approx(figures["w1_estimate"] * figures["lipschitz"])


def test_bounds_hold_the_truth_between_them() -> None:
    fit = CriticFit(steps=200, batch_size=128, critic=MlpCritic(hidden=(32,)), average=0.9)
    x, y = normal(3000, 1, 0), normal(3000, 1, 1) + 2
    figures = measure(Problem(x, y, fits=[fit]), "bounds").figures
    assert 1.8 < figures["w1_low"] < 2 < figures["w1_high"] < 2.2
    assert (figures["anchors"], figures["judged"], figures["batches"], figures["batch_size"]) == (4000, 2000, 10, 300)
    surer = measure(Problem(x, y, fits=[fit], confidence=0.999), "bounds").figures
    assert surer["w1_low"] < figures["w1_low"] < figures["w1_high"] < surer["w1_high"]


def test_potentials_of_the_plan_prove_what_a_flat_critic_cannot() -> None:
    """Many centres in the plane: each side of a step moves to the other, which a small critic does not see."""
    centres = torch.cartesian_prod(*[torch.arange(6.0, dtype=torch.float64)] * 2)
    generator = torch.Generator().manual_seed(0)
    points = centres[torch.randint(36, (6000,), generator=generator)]
    noise = torch.randn(6000, 2, generator=generator, dtype=torch.float64)
    x, y = points[:3000] + 0.02 * noise[:3000], points[3000:] + 0.2 * noise[3000:]
    truth = (0.2 - 0.02) * (torch.pi / 2) ** 0.5  # E‖N(0, 1)‖ in the plane; the map is radial at each centre
    fit = CriticFit(steps=50, batch_size=64, critic=MlpCritic(hidden=(8,)), average=0.9)
    figures = measure(Problem(x, y, fits=[fit]), "bounds").figures
    assert figures["w1_low"] == figures["w1_low_by_plan"]
    assert 0.5 * truth < figures["w1_low"] < truth < figures["w1_high"]
    assert figures["w1_low_by_critic"] < 0.5 * truth


def test_the_order_of_a_file_does_not_matter_to_bounds() -> None:
    """Sorted samples, whose first third is no fair sample."""
    fit = CriticFit(steps=50, batch_size=64, critic=MlpCritic(hidden=(16,)), average=0.9)
    x, y = normal(1000, 1, 0).sort(0)[0], normal(1000, 1, 1).sort(0, descending=True)[0]
    figures = measure(Problem(x, y, fits=[fit]), "bounds").figures
    assert figures["w1_low"] < 0.1
    assert figures["w1_high"] < 0.5


@pytest.mark.parametrize("method", METHODS)
def test_figures_are_plain_numbers(method: str) -> None:
    fit = CriticFit(steps=2, batch_size=4, critic=MlpCritic(hidden=(4,)))
    figures = measure(Problem(normal(16, 1, 0), normal(15, 1, 1), fits=[fit]), method).figures
    assert {type(value) for value in figures.values()} <= {float, bool, int}


@pytest.mark.parametrize(
    ("problem", "method", "message"),
    [
        (Problem(normal(4, 2, 0), normal(4, 3, 0)), "exact", "samples of A have 2 values, those of B 3"),
        (Problem(normal(4, 2, 0), normal(4, 2, 0)), "best", "unknown; allowed: exact"),
        (Problem(normal(4, 2, 0), normal(4, 2, 0)), "1d", "have 2 values, not one"),
        (Problem(normal(1, 2, 0), normal(4, 2, 0)), "gaussian", "at least 2 samples"),
        (Problem(normal(11, 2, 0), normal(40, 2, 0)), "bounds", "at least 12 samples"),
        (Problem(normal(40, 2, 0), normal(40, 2, 0), p=2), "bounds", "--p 2: bounds measures W1 alone"),
        (Problem(normal(4, 2, 0), normal(4, 2, 0), epsilon=-1.0), "sinkhorn", "epsilon"),
    ],
)
def test_sets_that_do_not_fit_are_refused(problem: Problem, method: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        measure(problem, method)
