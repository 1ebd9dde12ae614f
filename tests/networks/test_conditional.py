from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wgan_cli.lipschitz import Clip
from wgan_cli.lipschitz.slope import slopes
from wgan_cli.networks import ConvCritic, Latent, MlpCritic, MlpGenerator
from wgan_cli.networks.conditional import ConcatenationCritic, ProjectionCritic
from wgan_cli.networks.pair import Networks

CASES = [
    (MlpCritic(hidden=(6, 5)), (3,)),
    (MlpCritic(hidden=(6,), norm="layer"), (2, 4, 4)),
    (MlpCritic(hidden=()), (4,)),
    (ConvCritic(width=2), (3, 8, 8)),
    (ConvCritic(channels=(2,), hidden=(6, 5)), (1, 8, 8)),
]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def classes(count: int, width: int = 4) -> Tensor:
    return torch.eye(width)[torch.arange(count) % width]


@pytest.mark.parametrize(("spec", "shape"), CASES)
def test_projection_is_miyatos_and_koyamas_formula(spec: Any, shape: tuple[int, ...]) -> None:
    critic = ProjectionCritic(spec, shape, 4)
    samples, condition = torch.randn(9, *shape, generator=stream()), classes(9)
    features = critic.features(samples)
    (w,), b, v = critic.head.weight, critic.head.bias, critic.embedding.weight  # v: (features, classes)
    for i in range(9):
        y = int(condition[i].argmax())
        by_hand = w @ features[i] + b + v[:, y] @ features[i]
        assert critic(samples, condition)[i].item() == pytest.approx(by_hand.item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("spec", "shape"), CASES)
@pytest.mark.parametrize("kind", [ProjectionCritic, ConcatenationCritic])
def test_a_score_is_of_its_own_sample_and_condition_alone(spec: Any, shape: tuple[int, ...], kind: Any) -> None:
    critic = kind(spec, shape, 4)
    samples, condition = torch.randn(8, *shape, generator=stream()), classes(8)
    scores = critic(samples, condition)
    assert scores.shape == (8,)
    order = torch.randperm(8, generator=stream())
    assert torch.allclose(critic(samples[order], condition[order]), scores[order], atol=1e-6)
    assert not torch.allclose(critic(samples, condition.roll(1, 0)), scores, atol=1e-6)


@pytest.mark.parametrize(("spec", "shape"), CASES)
def test_a_class_without_embedding_scores_as_without_condition(spec: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    plain = spec.build(shape)
    torch.manual_seed(0)  # the same first weights: the embedding is drawn last
    critic = ProjectionCritic(spec, shape, 4)
    nn.init.zeros_(critic.embedding.weight)
    samples = torch.randn(5, *shape, generator=stream())
    assert torch.allclose(critic(samples, classes(5)), plain(samples), atol=1e-6)


def test_concatenation_is_a_critic_of_longer_vectors() -> None:
    critic = ConcatenationCritic(MlpCritic(hidden=(6,)), (3,), 2)
    samples, condition = torch.randn(7, 3, generator=stream()), torch.randn(7, 2, generator=stream(1))
    assert critic.critic[1].in_features == 5
    assert torch.equal(critic(samples, condition), critic.critic(torch.cat([samples, condition], 1)))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 5), (1, 2, 3, 4)])
def test_concatenation_adds_constant_channels(shape: tuple[int, ...]) -> None:
    critic = ConcatenationCritic(MlpCritic(hidden=(6,)), shape, 2)
    samples, condition = torch.randn(7, *shape, generator=stream()), torch.randn(7, 2, generator=stream(1))
    channels = [torch.full((1, *shape[1:]), value.item()) for value in condition[3]]
    by_hand = critic.critic(torch.cat([samples[3], *channels])[None])
    assert critic(samples, condition)[3].item() == pytest.approx(by_hand.item(), abs=1e-6)


@pytest.mark.parametrize("classes", [2, 1000])
def test_the_first_scores_of_a_class_do_not_outweigh_those_of_all(classes: int) -> None:
    """Else critics of few classes would begin many times steeper than critics without conditions."""
    torch.manual_seed(0)
    critic = ProjectionCritic(MlpCritic(hidden=(256,)), (5,), classes)
    spreads = critic.embedding.weight.std(), critic.head.weight.std()
    assert spreads[0].item() == pytest.approx(spreads[1].item(), rel=0.15)


@pytest.mark.parametrize("kind", [ProjectionCritic, ConcatenationCritic])
def test_a_linear_critics_slope_is_that_of_its_class(kind: Any) -> None:
    critic = kind(MlpCritic(hidden=()), (3,), 4)
    found = slopes(lambda samples: critic(samples, classes(8)), torch.randn(8, 3, generator=stream()))
    if kind is ProjectionCritic:  # w + v_y for class y
        expected = (critic.head.weight + critic.embedding.weight.T).norm(dim=1)[torch.arange(8) % 4]
    else:  # the condition is no direction that a sample can move in
        expected = critic.critic[1].weight[:, :3].norm().expand(8)
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.parametrize("kind", [ProjectionCritic, ConcatenationCritic])
def test_clipping_reaches_every_weight(kind: Any) -> None:
    critic = kind(MlpCritic(hidden=(8,)), (3,), 4)
    Clip(bound=0.01).constrain(critic)
    assert max(weight.abs().max().item() for weight in critic.parameters()) == pytest.approx(0.01)
    assert len(list(critic.parameters())) == (5 if kind is ProjectionCritic else 4)


@pytest.mark.parametrize("kind", [ProjectionCritic, ConcatenationCritic])
def test_networks_take_conditions_beside_latents_and_samples(kind: Any) -> None:
    def build() -> Networks:
        return Networks(
            *(MlpGenerator(hidden=(4,)), MlpCritic(hidden=(4,)), Clip(), Latent(dim=2), (3,)),
            bounded=False,
            average_decay=0.9,
            condition_width=4,
            conditional_critic=kind,
        )

    networks, other = build(), build()
    inputs = torch.cat([torch.randn(5, 2, generator=stream()), classes(5)], 1)
    samples = networks.generator(inputs)
    assert samples.shape == (5, 3)
    assert networks.critic(samples, classes(5)).shape == (5,)
    other.load_state_dict(networks.state_dict())
    assert torch.equal(other.sampler(inputs), networks.sampler(inputs))
    assert torch.equal(other.critic(samples, classes(5)), networks.critic(samples, classes(5)))
