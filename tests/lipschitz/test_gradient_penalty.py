import pytest
import torch
from torch import Tensor

from tests.lipschitz.helpers import SHAPES, linear_critic, pair, uniform
from wgan_cli.lipschitz import GradientPenalty
from wgan_cli.networks import ConvCritic, MlpCritic


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_a_linear_critics_penalty_is_known(shape: tuple[int, ...], norm: float) -> None:
    critic, (real, fake) = linear_critic(shape, norm), pair(shape)
    two = GradientPenalty(weight=10.0).penalty(critic, real, fake, (uniform(real),))
    one = GradientPenalty(weight=10.0, sided="one").penalty(critic, real, fake, (uniform(real),))
    assert two.item() == pytest.approx(10 * (norm - 1) ** 2, abs=1e-12)
    assert one.item() == pytest.approx(10 * max(norm - 1, 0) ** 2, abs=1e-12)


def test_a_slope_at_the_target_costs_nothing() -> None:
    critic, (real, fake) = linear_critic((4,), 2.0), pair((4,))
    penalty = GradientPenalty(target=2.0).penalty(critic, real, fake, (uniform(real),))
    assert penalty.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("critic_and_shape", [(MlpCritic(hidden=(8,)), (3,)), (ConvCritic(width=2), (1, 8, 8))])
def test_the_penalty_reaches_the_critic_and_no_sample(
    critic_and_shape: tuple[MlpCritic | ConvCritic, tuple[int, ...]],
) -> None:
    spec, shape = critic_and_shape
    critic = spec.build(shape)
    real, fake = torch.randn(4, *shape), torch.randn(4, *shape)
    GradientPenalty().penalty(critic, real, fake, (uniform(real),)).backward()
    weights = [p for name, p in critic.named_parameters() if name.endswith("weight")]
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in weights)
    assert real.grad is None
    assert fake.grad is None


@pytest.mark.parametrize("activation", ["tanh", "softplus", "silu"])
def test_the_penaltys_gradient_is_the_difference_quotient(activation: str) -> None:
    critic = MlpCritic.model_validate({"hidden": (5,), "activation": activation}).build((3,)).double()
    real, fake = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    parameters = tuple(critic.parameters())

    def penalty(*values: Tensor) -> Tensor:
        def called(points: Tensor) -> Tensor:
            named = dict(zip(dict(critic.named_parameters()), values, strict=True))
            return torch.func.functional_call(critic, named, (points,))

        return GradientPenalty().penalty(called, real, fake, (uniform(real),))

    assert torch.autograd.gradcheck(penalty, parameters, atol=1e-6)


@pytest.mark.parametrize("sided", ["one", "two"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_penalty_is_finite_where_the_slope_is_zero(shape: tuple[int, ...], sided: str) -> None:
    critic = MlpCritic(hidden=(8,)).build(shape)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.zero_()
    spec = GradientPenalty.model_validate({"sided": sided})
    real = torch.randn(4, *shape)
    penalty = spec.penalty(critic, real, torch.randn(4, *shape), (uniform(real),))
    penalty.backward()
    assert penalty.item() == pytest.approx(10.0 if sided == "two" else 0.0)
    assert all(p.grad is None or p.grad.isfinite().all() for p in critic.parameters())


def test_the_noise_is_one_weight_a_sample() -> None:
    (weights,) = GradientPenalty().noise(1000, (3,), torch.Generator().manual_seed(0))
    assert weights.shape == (1000,)
    assert 0 <= weights.min() < 0.05
    assert 0.95 < weights.max() < 1


def test_only_the_two_sided_penalty_can_hold_the_gap_negative() -> None:
    advice = GradientPenalty(sided="two").advice_on_negative_gap()
    assert advice is not None
    assert "lipschitz.sided: one" in advice
    assert GradientPenalty(sided="one").advice_on_negative_gap() is None


def test_noise_is_added_to_real_samples_alone() -> None:
    real, fake = pair((3,))
    seen: list[Tensor] = []

    def critic(points: Tensor) -> Tensor:
        seen.append(points.detach())
        return points.sum(1)

    spec = GradientPenalty(points="noise", scale=0.25)
    noise = spec.noise(len(real), (3,), torch.Generator().manual_seed(0))
    penalty = spec.penalty(critic, real, fake, (noise[0].to(real),))
    assert penalty.item() == pytest.approx(10 * (3**0.5 - 1) ** 2, rel=1e-6)
    torch.testing.assert_close(seen[0], real + 0.25 * noise[0].to(real))


def test_noise_is_normal_and_of_the_samples_shape() -> None:
    (noise,) = GradientPenalty(points="noise").noise(500, (2, 10), torch.Generator().manual_seed(0))
    assert noise.shape == (500, 2, 10)
    assert noise.mean().item() == pytest.approx(0, abs=0.03)
    assert noise.std().item() == pytest.approx(1, abs=0.03)


def test_slopes_around_real_samples_bound_no_distance() -> None:
    assert GradientPenalty().bounds_slope
    assert not GradientPenalty(points="noise").bounds_slope


def test_a_scale_without_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="scale is of points: noise"):
        GradientPenalty(scale=0.3)
