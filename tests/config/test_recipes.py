"""Recipes of the field: the networks have as many parameters as their sources', counted by hand."""

import json
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.lipschitz import Clip, GradientPenalty
from wgan_cli.networks import Critic, Generator, Latent
from wgan_cli.networks.base import parameter_count
from wgan_cli.optimizers import Adam, RmsProp


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def conv(kernel: int, inputs: int, outputs: int) -> int:
    """Of a convolution in the plane, transposed or not."""
    return kernel**2 * inputs * outputs + outputs


def norm(channels: int) -> int:
    return 2 * channels


def counts(config: RunConfig) -> tuple[int, int]:
    networks = config.networks()
    return parameter_count(networks.generator), parameter_count(networks.critic)


def built(generator: dict[str, Any], critic: dict[str, Any], latent: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """The parameter counts of networks given as in a config."""
    generators, critics = TypeAdapter(Generator), TypeAdapter(Critic)
    made = generators.validate_json(json.dumps(generator)).build(Latent(dim=latent), shape, bounded=len(shape) == 3)
    return parameter_count(made), parameter_count(critics.validate_json(json.dumps(critic)).build(shape))


def test_the_notebooks_plain_recipe() -> None:
    config = load_config("mnist_notebook_gp")
    last = conv(3, 128, 1)
    generator = linear(128, 128 * 7 * 7) + 2 * conv(4, 128, 128) + last
    critic = conv(4, 1, 64) + conv(4, 64, 64) + linear(64 * 7 * 7, 1)
    assert counts(config) == (generator, critic) == (1_334_785, 69_825)
    assert config.optimizer.generator == config.optimizer.critic == Adam(lr=5e-4, betas=(0.5, 0.9))
    assert (config.training.batch_size, config.training.n_critic) == (64, 5)
    assert config.lipschitz == GradientPenalty(weight=10.0)


@pytest.mark.parametrize("name", ["mnist_mlp1024_gp", "mnist_mlp1024_clip"])
def test_pytorch_gans_fully_connected_networks(name: str) -> None:
    config = load_config(name)
    widths = (100, 128, 256, 512, 1024, 28 * 28)
    generator = sum(linear(*pair) for pair in pairwise(widths)) + sum(map(norm, (256, 512, 1024)))
    critic = sum(linear(*pair) for pair in pairwise((28 * 28, 512, 256, 1)))
    assert counts(config) == (generator, critic) == (1_510_032, 533_505)
    networks = config.networks()
    kinds = [type(module).__name__.replace("InPlace", "") for module in networks.generator]
    block = ["Linear", "BatchNorm1d", "LeakyReLU"]
    assert kinds == ["Linear", "LeakyReLU", *block * 3, "Linear", "Tanh", "Unflatten"]
    assert {module.slope for module in networks.critic.modules() if hasattr(module, "slope")} == {0.2}
    assert {module.eps for module in networks.generator if isinstance(module, nn.BatchNorm1d)} == {1e-5}


def test_pytorch_gans_training() -> None:
    penalty, clipping = load_config("mnist_mlp1024_gp"), load_config("mnist_mlp1024_clip")
    assert penalty.optimizer.generator == penalty.optimizer.critic == Adam(lr=2e-4, betas=(0.5, 0.999))
    assert clipping.optimizer.generator == clipping.optimizer.critic == RmsProp(lr=5e-5, alpha=0.99)
    assert (penalty.lipschitz, clipping.lipschitz) == (GradientPenalty(weight=10.0), Clip(bound=0.01))
    for config in (penalty, clipping):
        assert config.latent == Latent(dim=100)
        assert (config.training.batch_size, config.training.n_critic, config.training.average) == (64, 5, None)


def test_dcgan_at_32_pixels() -> None:
    """gan_cifar.py of Gulrajani et al. (2017), but for the first batch norm: there one scale a value."""
    generator = {"kind": "conv", "channels": [512, 256, 128], "kernel": 5, "final": "transposed", "norm": "batch"}
    critic = {"kind": "conv", "channels": [128, 256, 512], "kernel": 5}
    small = 512 * 4 * 4
    for_generator = (
        linear(128, small) + sum(map(norm, (512, 256, 128))) + conv(5, 512, 256) + conv(5, 256, 128) + conv(5, 128, 3)
    )
    for_critic = conv(5, 3, 128) + conv(5, 128, 256) + conv(5, 256, 512) + linear(small, 1)
    assert built(generator, critic, 128, (3, 32, 32)) == (for_generator, for_critic) == (5_164_547, 4_114_689)


def test_the_residual_networks_of_wgan_gp() -> None:
    """gan_cifar_resnet.py of Gulrajani et al. (2017), without classes."""
    two_convolutions, shortcut = 2 * conv(3, 128, 128), conv(1, 128, 128)
    upsampling = two_convolutions + shortcut + 2 * norm(128)
    generator = linear(128, 128 * 4 * 4) + 3 * upsampling + norm(128) + conv(3, 128, 3)
    first = conv(3, 3, 128) + conv(3, 128, 128) + conv(1, 3, 128)
    critic = first + two_convolutions + shortcut + 2 * two_convolutions + linear(128, 1)
    found = built({"kind": "resnet"}, {"kind": "resnet"}, 128, (3, 32, 32))
    assert found == (generator, critic) == (1_204_483, 1_053_825)


def test_the_toy_networks_of_wgan_gp() -> None:
    """gan_toy.py of Gulrajani et al. (2017)."""
    spec = {"kind": "mlp", "hidden": [512, 512, 512], "activation": "relu", "init": "he"}
    body = linear(2, 512) + 2 * linear(512, 512)
    assert built(spec, spec, 2, (2,)) == (body + linear(512, 2), body + linear(512, 1)) == (527_874, 527_361)


@pytest.mark.parametrize("name", ["mnist_notebook_gp", "mnist_mlp1024_gp", "mnist_mlp1024_clip"])
def test_recipes_make_pictures(name: str) -> None:
    config = load_config(name)
    networks = config.networks()
    pictures = networks.generator(config.latent.draw(4, torch.Generator().manual_seed(0)))
    assert pictures.shape == (4, 1, 28, 28)
    assert networks.critic(pictures).shape == (4,)
