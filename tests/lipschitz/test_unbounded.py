import torch

from tests.lipschitz.helpers import linear_critic, pair
from wgan_cli.lipschitz import Unbounded


def test_no_strategy_changes_nothing_and_adds_no_penalty() -> None:
    critic, (real, fake) = linear_critic((4,), 3.0), pair((4,))
    before = [parameter.detach().clone() for parameter in critic.parameters()]
    Unbounded().constrain(critic)
    assert all(torch.equal(p, b) for p, b in zip(critic.parameters(), before, strict=True))
    assert Unbounded().penalty(critic, real, fake, ()).item() == 0


def test_no_strategy_bounds_no_slope() -> None:
    assert not Unbounded().bounds_slope
