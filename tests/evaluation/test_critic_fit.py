from pathlib import Path

import pytest
import torch

from wgan_cli import transport
from wgan_cli.errors import BadInputError
from wgan_cli.evaluation.critic_fit import (
    FITS,
    CriticFit,
    best_fitted,
    draw,
    fitted,
    fitted_critic,
    load_fits,
)
from wgan_cli.lipschitz import Clip, GradientPenalty
from wgan_cli.networks import McShaneCritic, MlpCritic
from wgan_cli.optimizers import RmsProp

QUICK = {"steps": 400, "batch_size": 128, "critic": MlpCritic(hidden=(32, 32))}


def normal(count: int, features: int, seed: int) -> torch.Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(count: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    """Two sets of single values, 3 apart."""
    return normal(count, 1, 0), normal(count, 1, 1) + 3


def w1(x: torch.Tensor, y: torch.Tensor, fit: CriticFit) -> float:
    estimate = fitted(x, y, fit, seed=0).estimate(x, y).w1
    assert estimate is not None
    return estimate


def true_w1(x: torch.Tensor, y: torch.Tensor) -> float:
    return transport.wasserstein_1d(x[:, 0], y[:, 0]).item()


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_estimate_is_near_the_truth_and_from_below(scale: float) -> None:
    x, y = normal(2000, 2, 0) * scale, normal(2000, 2, 1) * scale
    y[:, 0] += 3 * scale
    found = fitted(x, y, CriticFit(**QUICK), seed=0).estimate(x, y)
    truth = transport.exact_wasserstein(x, y).item()
    assert found.w1 is not None
    assert 0.85 * truth < found.w1 < 1.01 * truth
    assert found.gap == pytest.approx(found.w1 * found.lipschitz)


def test_the_estimate_is_of_w1_whatever_the_clip_bound_did() -> None:
    x, y = pair()
    estimates = []
    for bound in (0.01, 0.05):
        fit = CriticFit(**QUICK, lipschitz=Clip(bound=bound), optimizer=RmsProp(lr=bound / 20))
        found = fitted(x, y, fit, seed=0).estimate(x, y)
        assert found.w1 is not None
        estimates.append(found.w1)
        assert found.gap != pytest.approx(found.w1, rel=0.2)  # the raw gap depends on the bound
    assert all(1.5 < estimate < 3.1 for estimate in estimates)


def test_a_small_spread_lets_a_clipped_critic_be_straight() -> None:
    x, y = pair()
    ratios = {}
    for spread in (0.3, 1.0):
        fit = CriticFit(**QUICK, lipschitz=Clip(bound=0.1), optimizer=RmsProp(lr=2e-3, decay="linear"), spread=spread)
        ratios[spread] = w1(x, y, fit) / true_w1(x, y)
    assert ratios[1.0] < 0.85 < 0.9 < ratios[0.3] <= 1.001


def test_the_heavier_penalty_is_what_makes_the_estimate_true() -> None:
    """The default weight, against the usual 10, on a pair whose critic gains by overshooting."""
    x, y = pair(4000)
    errors = []
    for weight in (10.0, 1000.0):
        fit = CriticFit(**QUICK, lipschitz=GradientPenalty(weight=weight, sided="one"))
        errors.append(abs(w1(x, y, fit) / true_w1(x, y) - 1))
    assert errors[1] < errors[0]
    assert errors[1] < 0.1


def test_a_seed_gives_the_same_critic() -> None:
    x, y = (points.float() for points in pair(50))
    fit = CriticFit(steps=3, batch_size=8, critic=MlpCritic(hidden=(8,)))
    one, same, other = (fitted_critic(x, y, fit, seed) for seed in (0, 0, 1))
    assert torch.equal(one(x), same(x))
    assert not torch.equal(one(x), other(x))
    assert not one.training


def test_points_are_drawn_with_replacement() -> None:
    drawn = draw(torch.arange(5)[:, None], 1000, torch.Generator().manual_seed(0))
    assert drawn.shape == (1000, 1)
    assert drawn.unique().tolist() == [0, 1, 2, 3, 4]


def test_a_fit_is_read_with_the_checks_of_a_config(tmp_path: Path) -> None:
    assert load_fits(None) == FITS
    path = tmp_path / "critic.yaml"
    path.write_text("critic: {kind: mlp, hidden: [16]}\nsteps: 20\n")
    assert load_fits(str(path)) == (CriticFit(critic=MlpCritic(hidden=(16,)), steps=20),)
    path.write_text("steps: 20\nbatchsize: 8\n")
    with pytest.raises(BadInputError, match=r"critic\.yaml:2: batchsize: unknown key; did you mean batch_size\?"):
        load_fits(str(path))


def test_where_nothing_is_proved_the_critic_that_sees_most_is_chosen() -> None:
    """Many dimensions and few points: no limit is above 0."""
    x, y = normal(300, 50, 0), normal(300, 50, 1)
    y[:, 0] += 0.3
    by_heart = FITS[0].model_copy(update={"steps": 300, "batch_size": 64})
    smooth = FITS[2].model_copy(update={"steps": 300, "batch_size": 64, "critic": McShaneCritic(temperature=5.0)})
    apart = [[points[:60] for points in (x, y)], [points[60:] for points in (x, y)]]
    bounds = [fitted(*apart[1], fit, 0).proved(apart[1], apart[0], 0.95) for fit in (by_heart, smooth)]
    assert [bound.low for bound in bounds] == [0, 0]
    best = max((0, 1), key=lambda i: bounds[i].difference)
    for fits in ((by_heart, smooth), (smooth, by_heart)):
        assert best_fitted(x, y, fits, seed=0).fit == (by_heart, smooth)[best]


def test_the_critic_that_proves_most_is_chosen() -> None:
    """Four far centres whose masses spread: a critic of one anchor, and one of many, in either order."""
    centres = 4 * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 2)
    where = centres[torch.randint(4, (2, 1000), generator=torch.Generator().manual_seed(2))]
    x, y = where[0] + 0.1 * normal(1000, 2, 0), where[1] + normal(1000, 2, 1)
    quick = FITS[0].model_copy(update={"steps": 150, "batch_size": 128})
    blind, seeing = (quick.model_copy(update={"critic": McShaneCritic(anchors=count)}) for count in (1, 64))
    for fits in ((blind, seeing), (seeing, blind)):
        assert best_fitted(x, y, fits, seed=0).fit == seeing


def test_a_critic_that_mixes_samples_is_refused_under_the_penalty(tmp_path: Path) -> None:
    (tmp_path / "critic.yaml").write_text("critic: {kind: mlp, norm: batch}\n")
    with pytest.raises(BadInputError, match=r"critic\.yaml:1: critic\.norm: batch mixes the samples of a batch"):
        load_fits(str(tmp_path / "critic.yaml"))
    (tmp_path / "critic.yaml").write_text("critic: {kind: mlp, norm: batch}\nlipschitz: {kind: clip, bound: 0.1}\n")
    assert load_fits(str(tmp_path / "critic.yaml"))[0].critic.mixes_samples
