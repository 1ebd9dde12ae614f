import pytest
import torch

from tests.lipschitz.helpers import linear_critic, pair
from wgan_cli.config.load import load_config
from wgan_cli.lipschitz import Clip
from wgan_cli.networks import MlpCritic
from wgan_cli.training.trainer import Trainer


@pytest.mark.parametrize("bound", [0.01, 0.5])
def test_clip_leaves_every_parameter_within_the_bound(bound: float) -> None:
    critic = MlpCritic(hidden=(16, 16), norm="layer").build((5,))
    kept = [parameter.detach().clamp(-bound, bound).clone() for parameter in critic.parameters()]
    Clip(bound=bound).constrain(critic)
    assert all(torch.equal(p, k) for p, k in zip(critic.parameters(), kept, strict=True))
    assert max(p.abs().max().item() for p in critic.parameters()) <= bound


def test_clip_adds_no_penalty() -> None:
    critic, (real, fake) = linear_critic((4,), 3.0), pair((4,))
    assert Clip().penalty(critic, real, fake, ()).item() == 0


def test_clip_draws_no_random_numbers() -> None:
    trainer = Trainer(load_config("normal_clip", ["training.batch_size=8"]), torch.device("cpu"))
    before = trainer.streams.penalty.get_state()
    for _ in range(3):
        trainer.iterate()
    assert torch.equal(trainer.streams.penalty.get_state(), before)
