"""Laws that every kind of network has to keep, for the tests of each kind."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from tests.training.helpers import leave_out_machine_code
from wgan_cli.lipschitz import GradientPenalty
from wgan_cli.networks import CriticSpec, GeneratorSpec, Latent
from wgan_cli.networks.base import NetworkSpec
from wgan_cli.networks.conditional import ConcatenationCritic, ProjectionCritic
from wgan_cli.objectives import Wasserstein
from wgan_cli.training.engine import CompileEngine
from wgan_cli.training.steps import Steps, backward

LATENT = Latent(dim=5)


def read(kind: type[NetworkSpec], **fields: Any) -> Any:
    """A spec as a config file would give it."""
    return kind.model_validate_json(json.dumps(fields))


def check_shapes(generator: GeneratorSpec, critic: CriticSpec, shape: tuple[int, ...]) -> None:
    """Samples and scores have their shapes, and every weight of both has a gradient."""
    torch.manual_seed(0)  # with other weights, a whole layer of so few units may be dead
    networks = generator.build(LATENT, shape, bounded=True), critic.build(shape)
    samples = networks[0](torch.randn(16, LATENT.dim))
    assert samples.shape == (16, *shape)
    scores = networks[1](samples)
    assert scores.shape == (16,)
    scores.square().sum().backward()
    for network in networks:
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            if name.endswith("weight"):  # a bias before a norm has no effect
                assert parameter.grad.any(), name
    for conditional in (ProjectionCritic(critic, shape, 3), ConcatenationCritic(critic, shape, 3)):
        assert conditional(samples[:3].detach(), torch.eye(3)).shape == (3,)


def check_bounds(generator: GeneratorSpec, shape: tuple[int, ...]) -> None:
    """Bounded samples stay in [-1, 1]; others have no limit: the last layer with weights is the last of all."""
    latents = torch.randn(8, LATENT.dim)
    for bounded in (True, False):
        network = generator.build(LATENT, shape, bounded=bounded)
        with torch.no_grad():
            list(network.parameters())[-1].fill_(1e3)  # a bias
        assert (network(latents).abs().max() <= 1) == bounded


def mixes_samples(critic: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether another second sample changes the scores of the others."""
    samples = torch.randn(4, *shape)
    other = samples.clone()
    other[1] = torch.randn(shape) * 3
    before, after = critic(samples), critic(other)
    assert before[1] != after[1]
    return not torch.allclose(before[[0, 2, 3]], after[[0, 2, 3]], rtol=1e-5, atol=1e-6)


def check_penalty(spec: CriticSpec, shape: tuple[int, ...]) -> None:
    """The gradient of the penalty, which differentiates twice, is that of finite differences in float64."""
    torch.manual_seed(0)
    critic = spec.build(shape).double()
    names, weights = zip(*critic.named_parameters(), strict=True)
    real, fake = torch.randn(2, 3, *shape, dtype=torch.float64)
    noise = (torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64),)

    def penalty(*values: Tensor) -> Tensor:
        def scored(points: Tensor) -> Tensor:
            return functional_call(critic, dict(zip(names, values, strict=True)), (points,))

        return GradientPenalty(weight=3.0).penalty(scored, real, fake, noise)

    assert torch.autograd.gradcheck(penalty, weights)


def check_compiles(spec: CriticSpec, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled engine gives the gradients of an eager step, short of machine code."""
    leave_out_machine_code(monkeypatch)
    torch.manual_seed(0)
    critic = spec.build(shape).double()  # a norm of a few values is not exact to float32's last digits
    if len(shape) == 3:  # as `Networks.to` does
        critic.to(memory_format=torch.channels_last)
    steps = Steps(Wasserstein(), GradientPenalty())
    real, fake = torch.randn(2, 3, *shape, dtype=torch.float64)
    arguments = (real, fake, (torch.rand(3, dtype=torch.float64),))
    found = []
    for differentiate in (backward, CompileEngine([]).differentiate):
        differentiate(critic, steps.critic_loss, *arguments)
        found.append([parameter.grad.clone() for parameter in critic.parameters() if parameter.grad is not None])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(eager, compiled)
