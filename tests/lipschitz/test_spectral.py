import math
from typing import Any

import pytest
import torch
from torch import nn

from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError
from wgan_cli.lipschitz import Spectral
from wgan_cli.lipschitz.slope import slopes
from wgan_cli.networks import ConvCritic, MlpCritic, ResnetCritic
from wgan_cli.networks.pair import build_critic

CASES: list[tuple[Any, tuple[int, ...]]] = [
    (MlpCritic(hidden=(16, 8)), (5,)),
    (ConvCritic(channels=(4, 8)), (1, 8, 8)),
    (ConvCritic(channels=(4, 8)), (2, 8)),
    (ConvCritic(channels=(4, 8)), (1, 4, 4, 4)),
    (ResnetCritic(channels=(4, 4)), (3, 8, 8)),
]


def converged(spec: Any, shape: tuple[int, ...]) -> nn.Module:
    torch.manual_seed(0)
    critic = build_critic(spec, Spectral(power_iterations=30), shape)
    for _ in range(20):
        critic(torch.randn(2, *shape))
    return critic.eval()


@pytest.mark.parametrize(("spec", "shape"), CASES)
def test_every_weight_has_the_largest_singular_value_one(spec: Any, shape: tuple[int, ...]) -> None:
    critic = converged(spec, shape)
    weights = [m.weight for m in critic.modules() if isinstance(getattr(m, "weight", None), torch.Tensor)]
    assert len(weights) >= 3
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


def test_a_fully_connected_critic_has_slope_at_most_one() -> None:
    """Whatever its weights are before they are divided."""
    torch.manual_seed(0)
    critic = build_critic(MlpCritic(hidden=(32, 32)), Spectral(power_iterations=50), (4,))
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(30)
    for _ in range(20):
        critic(torch.randn(2, 4))
    steepest = slopes(critic.eval(), 3 * torch.randn(500, 4)).max().item()
    assert 0 < steepest <= 1 + 1e-3


def test_the_slope_of_a_convolution_is_bounded_by_its_overlaps() -> None:
    """A kernel of side 4 at stride 2 covers each value twice in each dimension, so √2 a dimension and layer."""
    critic = converged(ConvCritic(channels=(4, 8)), (1, 8, 8))
    steepest = slopes(critic, 3 * torch.randn(500, 1, 8, 8)).max().item()
    assert 0 < steepest <= math.sqrt(2) ** 4 + 1e-3


def test_measuring_changes_no_state() -> None:
    critic = build_critic(MlpCritic(hidden=(16, 8)), Spectral(), (5,)).eval()
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    critic(torch.randn(3, 5))
    assert all(torch.equal(value, before[name]) for name, value in critic.state_dict().items())
    critic.train()(torch.randn(3, 5))
    assert any(not torch.equal(value, before[name]) for name, value in critic.state_dict().items())


def test_engines_that_hold_no_state_refuse_it() -> None:
    with pytest.raises(BadInputError, match=r"spectral keeps a state, which training.engine: compile can't hold"):
        load_config("normal_gp", ["lipschitz={kind: spectral}", "training.engine=compile"])
