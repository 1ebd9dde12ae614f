import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from wgan_cli.objectives import Gan, Hinge, Relativistic, Wasserstein

scores = st.lists(st.floats(-50, 50), min_size=1, max_size=8).map(lambda x: torch.tensor(x, dtype=torch.float64))


@given(scores, scores)
def test_the_wasserstein_critic_minimises_minus_the_gap(real: torch.Tensor, fake: torch.Tensor) -> None:
    gap = real.mean() - fake.mean()
    assert Wasserstein().critic_loss(real, fake).item() == pytest.approx(-gap.item(), abs=1e-12)
    assert Wasserstein().generator_loss(fake).item() == pytest.approx(-fake.mean().item())


@given(scores, scores)
def test_the_gan_minimises_cross_entropies(real: torch.Tensor, fake: torch.Tensor) -> None:
    ones, zeros = torch.ones_like, torch.zeros_like
    expected = binary_cross_entropy_with_logits(real, ones(real)) + binary_cross_entropy_with_logits(fake, zeros(fake))
    assert Gan().critic_loss(real, fake).item() == pytest.approx(expected.item(), abs=1e-12)
    non_saturating = binary_cross_entropy_with_logits(fake, ones(fake))
    assert Gan().generator_loss(fake).item() == pytest.approx(non_saturating.item(), abs=1e-12)


def test_an_undecided_discriminator_costs_two_log_two() -> None:
    assert Gan().critic_loss(torch.zeros(4), torch.zeros(4)).item() == pytest.approx(2 * math.log(2))


@given(scores, scores)
def test_the_hinge_costs_what_scores_lack_to_one(real: torch.Tensor, fake: torch.Tensor) -> None:
    lacking = [max(0.0, 1 - s) for s in real.tolist()], [max(0.0, 1 + s) for s in fake.tolist()]
    expected = sum(sum(part) / len(part) for part in lacking)
    assert Hinge().critic_loss(real, fake).item() == pytest.approx(expected, abs=1e-12)
    assert Hinge().generator_loss(fake).item() == pytest.approx(-fake.mean().item())


def test_the_hinge_asks_for_no_more_than_one() -> None:
    assert Hinge().critic_loss(torch.tensor([1.0, 7.0]), torch.tensor([-1.0, -3.0])).item() == 0
    assert Hinge().critic_loss(torch.zeros(3), torch.zeros(3)).item() == 2


def test_only_the_wasserstein_objective_needs_a_bounded_slope() -> None:
    assert Wasserstein().needs_slope_bound
    assert not Gan().needs_slope_bound
    assert not Hinge().needs_slope_bound


pairs = st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=1, max_size=8)


@given(pairs)
def test_relativistic_losses_are_cross_entropies_of_differences(scored: list[tuple[float, float]]) -> None:
    real, fake = torch.tensor(scored, dtype=torch.float64).T
    ones = torch.ones_like(real)
    expected = binary_cross_entropy_with_logits(real - fake, ones)
    assert Relativistic().critic_loss(real, fake).item() == pytest.approx(expected.item(), abs=1e-12)
    reverse = binary_cross_entropy_with_logits(fake - real, ones)
    assert Relativistic().generator_loss(fake, real).item() == pytest.approx(reverse.item(), abs=1e-12)


@given(pairs, st.floats(-20, 20))
def test_relativistic_losses_know_no_constant(scored: list[tuple[float, float]], constant: float) -> None:
    """Only differences of scores count, so the critic can't drift."""
    real, fake = torch.tensor(scored, dtype=torch.float64).T
    for loss in (Relativistic().critic_loss, lambda r, f: Relativistic().generator_loss(f, r)):
        assert loss(real + constant, fake + constant).item() == pytest.approx(loss(real, fake).item(), abs=1e-9)


def test_only_relativistic_losses_pair_samples() -> None:
    assert [objective().pairs_samples for objective in (Wasserstein, Gan, Hinge, Relativistic)] == [*[False] * 3, True]
