import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.lipschitz.helpers import SHAPES, linear_critic, pair
from wgan_cli.config.load import load_config
from wgan_cli.lipschitz import R1
from wgan_cli.networks import MlpCritic


@pytest.mark.parametrize("shape", SHAPES)
def test_a_linear_critics_penalty_is_half_its_squared_slope(shape: tuple[int, ...]) -> None:
    critic, (real, fake) = linear_critic(shape, 3.0), pair(shape)
    assert R1(weight=4.0).penalty(critic, real, fake, ()).item() == pytest.approx(2 * 9)
    assert R1(weight=4.0, fake_weight=1.0).penalty(critic, real, fake, ()).item() == pytest.approx(2 * 9 + 0.5 * 9)


def test_each_weight_is_of_its_own_samples() -> None:
    """The critic ‖x‖² / 2 has the slope ‖x‖."""
    real, fake = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])

    def critic(points: Tensor) -> Tensor:
        return points.square().sum(1) / 2

    assert R1(weight=2.0).penalty(critic, real, fake, ()).item() == pytest.approx(25)
    assert R1(weight=0.0, fake_weight=2.0).penalty(critic, real, fake, ()).item() == pytest.approx(4)
    assert R1(weight=2.0, fake_weight=2.0).penalty(critic, real, fake, ()).item() == pytest.approx(29)


def test_its_gradient_is_the_difference_quotient() -> None:
    critic = MlpCritic(hidden=(5,), activation="silu").build((3,)).double()
    real, fake = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)

    def penalty(*values: Tensor) -> Tensor:
        named = dict(zip(dict(critic.named_parameters()), values, strict=True))
        called = lambda points: torch.func.functional_call(critic, named, (points,))  # noqa: E731
        return R1(fake_weight=0.5).penalty(called, real, fake, ())

    assert torch.autograd.gradcheck(penalty, tuple(critic.parameters()), atol=1e-6)


def test_it_is_finite_where_the_slope_is_zero() -> None:
    critic = MlpCritic(hidden=(8,)).build((3,))
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.zero_()
    R1().penalty(critic, torch.randn(4, 3), torch.randn(4, 3), ()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in critic.parameters())


def test_two_weights_of_zero_are_refused() -> None:
    with pytest.raises(ValidationError, match="penalises nothing"):
        R1(weight=0.0)


def test_the_wasserstein_objective_is_warned_of_it() -> None:
    """Between disjoint supports the critic may rise without limit at no penalty."""
    flat_at_both = lambda x: 1e6 * torch.sigmoid(1e4 * (x[:, 0] - 0.5))  # noqa: E731
    real, fake = torch.ones(4, 1), torch.zeros(4, 1)
    assert R1(fake_weight=1.0).penalty(flat_at_both, real, fake, ()).item() == 0
    assert (flat_at_both(real) - flat_at_both(fake)).mean() > 1e5
    (warning,) = load_config("normal_gp", ["lipschitz={kind: r1}"]).warnings()
    assert "leaves the critic's slope unbounded" in warning
    assert list(load_config("normal_r1").warnings()) == []
