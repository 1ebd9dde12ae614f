import math

import pytest
import torch
from torch import nn

from wgan_cli.networks import ConvGenerator, Latent, MlpCritic, MlpGenerator
from wgan_cli.networks.base import in_batches, parameter_count


@pytest.mark.parametrize(("init", "std"), [("dcgan", 0.02), ("xavier", math.sqrt(2 / (256 + 512)))])
def test_init_has_the_spread_it_names(init: str, std: float) -> None:
    critic = MlpCritic.model_validate({"hidden": (512, 256), "init": init}).build((784,))
    second = [module for module in critic.modules() if isinstance(module, nn.Linear)][1]
    assert second.weight.std().item() == pytest.approx(std, rel=0.02)
    assert not second.bias.any()


def test_parameter_count_of_a_known_network() -> None:
    # The recipe's critic: 512-256-128-1.
    expected = 512 * 256 + 256 + 256 * 128 + 128 + 128 + 1
    assert parameter_count(MlpCritic(hidden=(256, 128)).build((512,))) == expected


def test_in_batches_evaluates_and_restores_training() -> None:
    generator = MlpGenerator(hidden=(64,), dropout=0.5).build(Latent(dim=4), (8,), bounded=False)
    latents = torch.randn(10, 4)
    assert torch.equal(in_batches(generator, latents), in_batches(generator, latents))
    torch.testing.assert_close(in_batches(generator, latents, batch_size=3), in_batches(generator, latents))
    assert generator.training


def test_a_network_names_the_key_of_each_trait() -> None:
    for spec, mixes, keeps, draws in (
        (MlpCritic(), None, None, None),
        (MlpCritic(norm="layer"), None, None, None),
        (MlpCritic(norm="batch"), "norm", "norm", None),
        (MlpGenerator(dropout=0.1), None, None, "dropout"),
        (ConvGenerator(), None, None, None),
        (ConvGenerator(norm="batch"), "norm", "norm", None),
    ):
        assert (spec.mixes_samples, spec.keeps_state, spec.draws_randomness) == (mixes, keeps, draws)
