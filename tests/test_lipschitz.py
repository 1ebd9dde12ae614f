import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from wgan_cli.lipschitz import Clip, GradientPenalty, Unbounded, between, slopes
from wgan_cli.models import ConvCritic, MlpCritic

SHAPES = [(1,), (512,), (1, 28, 28), (3, 32, 32)]


def uniform(real: Tensor) -> Tensor:
    return torch.rand(len(real), generator=torch.Generator().manual_seed(0), dtype=real.dtype)


def linear_critic(shape: tuple[int, ...], norm: float) -> nn.Module:
    """critic(x) = w·x + 5 with ‖w‖₂ = norm: its slope is known everywhere."""
    head = nn.Linear(math.prod(shape), 1).double()
    with torch.no_grad():
        head.weight.mul_(norm / head.weight.norm())
        head.bias.fill_(5)
    return nn.Sequential(nn.Flatten(), head, nn.Flatten(0))


def pair(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(6, *shape, dtype=torch.float64), torch.randn(6, *shape, dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_a_linear_critics_penalty_is_known(shape: tuple[int, ...], norm: float) -> None:
    critic, (real, fake) = linear_critic(shape, norm), pair(shape)
    two = GradientPenalty(weight=10.0).penalty(critic, real, fake, uniform(real))
    one = GradientPenalty(weight=10.0, sided="one").penalty(critic, real, fake, uniform(real))
    assert two.item() == pytest.approx(10 * (norm - 1) ** 2, abs=1e-12)
    assert one.item() == pytest.approx(10 * max(norm - 1, 0) ** 2, abs=1e-12)


def test_the_target_is_where_the_penalty_ends() -> None:
    critic, (real, fake) = linear_critic((4,), 2.0), pair((4,))
    assert GradientPenalty(target=2.0).penalty(critic, real, fake, uniform(real)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("critic_and_shape", [(MlpCritic(hidden=(8,)), (3,)), (ConvCritic(width=2), (1, 8, 8))])
def test_the_penalty_reaches_the_critic(critic_and_shape: tuple[MlpCritic | ConvCritic, tuple[int, ...]]) -> None:
    spec, shape = critic_and_shape
    critic = spec.build(shape)
    real, fake = torch.randn(4, *shape), torch.randn(4, *shape)
    GradientPenalty().penalty(critic, real, fake, uniform(real)).backward()
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

        return GradientPenalty().penalty(called, real, fake, uniform(real))  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(penalty, parameters, atol=1e-6)


@pytest.mark.parametrize("sided", ["one", "two"])
@pytest.mark.parametrize("shape", SHAPES)
def test_finite_where_the_slope_is_zero(shape: tuple[int, ...], sided: str) -> None:
    critic = MlpCritic(hidden=(8,)).build(shape)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.zero_()
    spec = GradientPenalty.model_validate({"sided": sided})
    real = torch.randn(4, *shape)
    penalty = spec.penalty(critic, real, torch.randn(4, *shape), uniform(real))
    penalty.backward()
    assert penalty.item() == pytest.approx(10.0 if sided == "two" else 0.0)
    assert all(p.grad is None or p.grad.isfinite().all() for p in critic.parameters())


def test_computed_in_float32_at_least() -> None:
    critic = linear_critic((64,), 1.0).to(torch.bfloat16)
    points = torch.randn(4, 64, dtype=torch.bfloat16)
    assert slopes(critic, points).dtype == torch.float32
    assert slopes(critic.double(), points.double()).dtype == torch.float64


@given(st.sampled_from(SHAPES))
def test_points_lie_between_with_one_weight_a_sample(shape: tuple[int, ...]) -> None:
    real, fake = pair(shape)
    weights = ((between(real, fake, uniform(real)) - fake) / (real - fake)).flatten(1)
    assert torch.allclose(weights, weights[:, :1], atol=1e-6)
    assert weights.min() > -1e-9
    assert weights.max() < 1 + 1e-9
    assert weights[:, 0].unique().numel() == len(real)


@pytest.mark.parametrize("bound", [0.01, 0.5])
def test_clip_leaves_every_parameter_within_the_bound(bound: float) -> None:
    critic = MlpCritic(hidden=(16, 16), norm="layer").build((5,))
    kept = [parameter.detach().clamp(-bound, bound).clone() for parameter in critic.parameters()]
    Clip(bound=bound).constrain(critic)
    assert all(torch.equal(p, k) for p, k in zip(critic.parameters(), kept, strict=True))
    assert max(p.abs().max().item() for p in critic.parameters()) <= bound


def test_strategies_that_have_no_penalty_add_nothing() -> None:
    critic, (real, fake) = linear_critic((4,), 3.0), pair((4,))
    before = [parameter.detach().clone() for parameter in critic.parameters()]
    Unbounded().constrain(critic)
    assert all(torch.equal(p, b) for p, b in zip(critic.parameters(), before, strict=True))
    for spec in (Unbounded(), Clip()):
        assert spec.penalty(critic, real, fake, uniform(real)).item() == 0
