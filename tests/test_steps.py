import copy

import pytest
import torch
from torch import Tensor, nn

from wgan_cli.lipschitz import Clip, GradientPenalty, LipschitzSpec, Unbounded
from wgan_cli.models import Latent, MlpCritic, MlpGenerator
from wgan_cli.objectives import Wasserstein
from wgan_cli.steps import Mathematics


def uniform() -> Tensor:
    return torch.rand(32, generator=torch.Generator().manual_seed(0))


class Networks:
    def __init__(self, lr: float = 1e-3) -> None:
        torch.manual_seed(0)
        self.generator = MlpGenerator(hidden=(16,)).build(Latent(dim=4), (3,))
        self.critic = MlpCritic(hidden=(16,)).build((3,))
        self.for_generator = torch.optim.SGD(self.generator.parameters(), lr=lr)
        self.for_critic = torch.optim.SGD(self.critic.parameters(), lr=lr)
        self.real = torch.randn(32, 3) + 2
        self.latents = torch.randn(32, 4)

    def fake(self) -> Tensor:
        with torch.no_grad():
            return self.generator(self.latents)

    def gap(self) -> float:
        with torch.no_grad():
            return (self.critic(self.real).mean() - self.critic(self.fake()).mean()).item()


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


@pytest.mark.parametrize("lipschitz", [Unbounded(), Clip(bound=10.0), GradientPenalty(weight=0.01)])
def test_a_critic_step_raises_the_gap_and_leaves_the_generator(lipschitz: LipschitzSpec) -> None:
    networks = Networks()
    before, gap = weights(networks.generator), networks.gap()
    mathematics = Mathematics(Wasserstein(), lipschitz)
    figures = mathematics.critic_step(networks.critic, networks.for_critic, networks.real, networks.fake(), uniform())
    assert networks.gap() > gap
    assert figures["critic/gap"].item() == pytest.approx(gap, abs=1e-6)  # real minus fake, before the update
    assert all(torch.equal(a, b) for a, b in zip(weights(networks.generator), before, strict=True))


def test_a_generator_step_raises_the_score_of_fakes_and_leaves_the_critic() -> None:
    networks = Networks(lr=1e-2)
    before = weights(networks.critic)
    score = networks.critic(networks.fake()).mean().item()
    mathematics = Mathematics(Wasserstein(), Unbounded())
    figures = mathematics.generator_step(networks.generator, networks.critic, networks.for_generator, networks.latents)
    assert networks.critic(networks.fake()).mean().item() > score
    assert figures["generator/loss"].item() == pytest.approx(-score, abs=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(weights(networks.critic), before, strict=True))
    assert all(p.grad is None and p.requires_grad for p in networks.critic.parameters())


def test_the_loss_is_the_penalty_minus_the_gap() -> None:
    networks = Networks()
    mathematics = Mathematics(Wasserstein(), GradientPenalty())
    figures = mathematics.critic_step(networks.critic, networks.for_critic, networks.real, networks.fake(), uniform())
    assert figures["critic/penalty"] > 0
    assert figures["critic/loss"].item() == pytest.approx(
        (figures["critic/penalty"] - figures["critic/gap"]).item(), abs=1e-5
    )
    assert figures["critic/gap"].item() == pytest.approx(
        (figures["critic/real"] - figures["critic/fake"]).item(), abs=1e-6
    )
    assert not any(figure.requires_grad for figure in figures.values())


def test_clipping_comes_after_the_step() -> None:
    networks = Networks(lr=100.0)
    Mathematics(Wasserstein(), Clip(bound=0.01)).critic_step(
        networks.critic, networks.for_critic, networks.real, networks.fake(), uniform()
    )
    assert max(parameter.abs().max().item() for parameter in networks.critic.parameters()) <= 0.01


def test_one_critic_step_is_the_papers_algorithm_by_hand() -> None:
    networks = Networks(lr=0.05)
    by_hand = copy.deepcopy(networks.critic)
    mix = torch.rand(32, 1, generator=torch.Generator().manual_seed(0))
    points = (mix * networks.real + (1 - mix) * networks.fake()).requires_grad_()
    (gradient,) = torch.autograd.grad(by_hand(points).sum(), points, create_graph=True)
    penalty = 10 * ((gradient.square().sum(1).sqrt() - 1) ** 2).mean()
    loss = by_hand(networks.fake()).mean() - by_hand(networks.real).mean() + penalty
    expected = [p - 0.05 * g for p, g in zip(by_hand.parameters(), _gradients(loss, by_hand), strict=True)]
    Mathematics(Wasserstein(), GradientPenalty()).critic_step(
        networks.critic, networks.for_critic, networks.real, networks.fake(), uniform()
    )
    for got, wanted in zip(networks.critic.parameters(), expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-5)


def _gradients(loss: Tensor, critic: nn.Module) -> list[Tensor]:
    parameters = list(critic.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
