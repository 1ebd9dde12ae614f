"""Intervals of figures, against laws and SciPy's bootstrap."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from wgan_cli.measures.statistic import Figures, Statistic, beside_floor, of_samples


def mean(values: Tensor) -> Figures:
    return {"mean": values.mean().item()}


def values(seed: int, count: int = 400) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def half_width(figures: Figures, name: str) -> float:
    return (figures[f"{name}_ci_high"] - figures[f"{name}_ci_low"]) / 2


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    figures = Statistic(mean, [values(0)]).with_intervals()
    assert list(figures) == ["mean", "mean_ci_low", "mean_ci_high"]
    assert figures["mean"] == pytest.approx((figures["mean_ci_low"] + figures["mean_ci_high"]) / 2)
    assert half_width(figures, "mean") == pytest.approx(1.96 * values(0).std().item() / 20, rel=0.2)


def test_both_sets_are_drawn_as_by_scipy() -> None:
    x, y = values(0), 3 * values(1, 100)

    def ratio(x: Tensor, y: Tensor) -> Figures:
        return {"ratio": (x.std() / y.std()).item()}

    figures = Statistic(ratio, [x, y]).with_intervals()
    expected = stats.bootstrap(
        (x.numpy(), y.numpy()), lambda x, y: np.std(x, ddof=1) / np.std(y, ddof=1), vectorized=False, rng=0
    ).standard_error
    assert half_width(figures, "ratio") == pytest.approx(1.96 * expected, rel=0.25)


def test_it_holds_the_truth_as_often_as_it_promises() -> None:
    held = 0
    for seed in range(200):
        figures = Statistic(mean, [values(seed, 100)]).with_intervals()
        held += figures["mean_ci_low"] <= 0 <= figures["mean_ci_high"]
    assert 0.9 <= held / 200 <= 0.98


def test_what_is_never_negative_has_no_negative_end() -> None:
    few = torch.tensor([0.0] * 99 + [1.0])
    assert Statistic(mean, [few]).with_intervals()["mean_ci_low"] == 0
    assert Statistic(mean, [few - 0.01]).with_intervals()["mean_ci_low"] < 0


def test_no_share_is_above_one() -> None:
    many = torch.tensor([0.0] + [1.0] * 99)
    figures = Statistic(lambda x: {"fidelity/recall": x.mean().item(), "other": x.mean().item()}, [many])
    found = figures.with_intervals()
    assert found["fidelity/recall_ci_high"] == 1
    assert found["other_ci_high"] > 1


def test_a_distance_whose_name_begins_as_that_of_a_share_may_be_larger() -> None:
    """A given column may be called so."""
    name = "condition/accuracy/2/w1"
    figures = Statistic(lambda x: {name: x.mean().item()}, [torch.linspace(1, 5, 50)]).with_intervals()
    assert figures[f"{name}_ci_high"] > figures[name] > 1


def test_a_floor_stands_beside_each_figure_and_has_no_interval() -> None:
    figures = beside_floor(of_samples(mean, of=lambda x: 2 * x), values(0), values(1), values(2))
    assert list(figures) == ["mean", "mean_ci_low", "mean_ci_high", "mean_floor"]
    assert figures["mean_floor"] == pytest.approx(2 * values(2).mean().item())
    told = Statistic(lambda x: {"near_floor": x.mean().item()}, [values(0)]).with_intervals()
    assert list(told) == ["near_floor"]


def test_the_same_samples_have_the_same_interval() -> None:
    assert Statistic(mean, [values(0)]).with_intervals() == Statistic(mean, [values(0)]).with_intervals()
