import itertools

import pytest
import torch

from wgan_cli.networks import Latent, MlpCritic, MlpGenerator

SHAPES = [(1,), (512,), (1, 28, 28), (3, 32, 32), (2, 16, 24)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_mlps_fit_any_shape(shape: tuple[int, ...], norm: str) -> None:
    generator = MlpGenerator.model_validate({"hidden": (16,), "norm": norm}).build(Latent(dim=5), shape, bounded=False)
    critic = MlpCritic.model_validate({"hidden": (16,), "norm": norm}).build(shape)
    samples = generator(torch.randn(4, 5))
    assert samples.shape == (4, *shape)
    assert critic(samples).shape == (4,)


def test_bounded_samples_end_in_tanh_and_others_have_no_limit() -> None:
    for shape, bounded in itertools.product([(1, 28, 28), (1,)], [True, False]):
        generator = MlpGenerator(hidden=()).build(Latent(dim=3), shape, bounded=bounded)
        samples = generator(torch.randn(64, 3) * 1000)
        assert bool((samples.abs() <= 1).all()) == bounded


def test_an_mlp_critics_score_has_no_bound() -> None:
    scores = MlpCritic(hidden=(8,)).build((1, 8, 8))(torch.randn(256, 1, 8, 8) * 1e6)
    assert scores.abs().max() > 100


def test_dropout_is_of_training_alone() -> None:
    critic = MlpCritic(hidden=(64,), dropout=0.5).build((3,))
    points = torch.randn(4, 3)
    assert not torch.equal(critic(points), critic(points))
    critic.eval()
    assert torch.equal(critic(points), critic(points))
