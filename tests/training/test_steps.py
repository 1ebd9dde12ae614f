import copy
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tests.training.helpers import CASES, CPU, SMALL, STRATEGIES, apart, case
from wgan_cli.config.load import load_config
from wgan_cli.lipschitz import Clip, GradientPenalty, LipschitzSpec, Unbounded
from wgan_cli.lipschitz.base import Noise
from wgan_cli.networks import Latent, MlpCritic, MlpGenerator
from wgan_cli.objectives import Wasserstein
from wgan_cli.training.distributed import World
from wgan_cli.training.steps import Figures, Steps
from wgan_cli.training.trainer import Trainer


class Pair:
    """A generator and a critic of three values, plain gradient descent, and a batch."""

    def __init__(self, lr: float = 1e-3) -> None:
        torch.manual_seed(0)
        self.generator = MlpGenerator(hidden=(16,)).build(Latent(dim=4), (3,), bounded=False)
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

    def noise(self, lipschitz: LipschitzSpec) -> Noise:
        return lipschitz.noise(32, tuple(self.real.shape[1:]), torch.Generator().manual_seed(0))

    def critic_step(self, lipschitz: LipschitzSpec) -> Figures:
        steps = Steps(Wasserstein(), lipschitz)
        parts = steps.critic_step(self.critic, self.for_critic, self.real, self.fake(), self.noise(lipschitz))
        return steps.critic_figures(parts)


def as_tuple(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a critic returns: scores, or scores and slopes."""
    return result if isinstance(result, tuple) else (result,)


def weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


@pytest.mark.parametrize("lipschitz", [Unbounded(), Clip(bound=10.0), GradientPenalty(weight=0.01)])
def test_a_critic_step_raises_the_gap_and_leaves_the_generator(lipschitz: LipschitzSpec) -> None:
    pair = Pair()
    before, gap = weights(pair.generator), pair.gap()
    figures = pair.critic_step(lipschitz)
    assert pair.gap() > gap
    assert figures["critic/gap"].item() == pytest.approx(gap, abs=1e-6)  # real minus fake, before the update
    assert all(torch.equal(a, b) for a, b in zip(weights(pair.generator), before, strict=True))


def test_a_generator_step_raises_the_score_of_fakes_and_leaves_the_critic() -> None:
    pair = Pair(lr=1e-2)
    before = weights(pair.critic)
    score = pair.critic(pair.fake()).mean().item()
    steps = Steps(Wasserstein(), Unbounded())
    figures = steps.generator_step(pair.generator, pair.critic, pair.for_generator, pair.latents)
    assert pair.critic(pair.fake()).mean().item() > score
    assert figures["generator/loss"].item() == pytest.approx(-score, abs=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(weights(pair.critic), before, strict=True))
    assert all(p.grad is None and p.requires_grad for p in pair.critic.parameters())


def test_the_loss_is_the_penalty_minus_the_gap() -> None:
    figures = Pair().critic_step(GradientPenalty())
    assert figures["critic/penalty"] > 0
    assert figures["critic/loss"].item() == pytest.approx(
        (figures["critic/penalty"] - figures["critic/gap"]).item(), abs=1e-5
    )
    assert figures["critic/gap"].item() == pytest.approx(
        (figures["critic/real"] - figures["critic/fake"]).item(), abs=1e-6
    )
    assert not any(figure.requires_grad for figure in figures.values())


def test_clipping_comes_after_the_step() -> None:
    pair = Pair(lr=100.0)
    pair.critic_step(Clip(bound=0.01))
    assert max(parameter.abs().max().item() for parameter in pair.critic.parameters()) <= 0.01


def test_one_critic_step_is_the_papers_algorithm_by_hand() -> None:
    pair = Pair(lr=0.05)
    by_hand = copy.deepcopy(pair.critic)
    mix = torch.rand(32, 1, generator=torch.Generator().manual_seed(0))
    points = (mix * pair.real + (1 - mix) * pair.fake()).requires_grad_()
    (gradient,) = torch.autograd.grad(by_hand(points).sum(), points, create_graph=True)
    penalty = 10 * ((gradient.square().sum(1).sqrt() - 1) ** 2).mean()
    loss = by_hand(pair.fake()).mean() - by_hand(pair.real).mean() + penalty
    expected = [p - 0.05 * g for p, g in zip(by_hand.parameters(), gradients(loss, by_hand), strict=True)]
    pair.critic_step(GradientPenalty())
    for got, wanted in zip(pair.critic.parameters(), expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-5)


def gradients(loss: Tensor, critic: nn.Module) -> list[Tensor]:
    parameters = list(critic.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def test_real_and_fake_pass_together_only_where_scores_do_not_depend_on_each_other() -> None:
    for norm, passes in (("none", 1), ("layer", 1), ("batch", 2)):
        trainer = Trainer(load_config("normal_clip", [*SMALL, f"critic.norm={norm}", "training.n_critic=1"]), CPU)
        seen = []
        trainer.networks.critic.register_forward_hook(lambda _, inputs, __, seen=seen: seen.append(len(inputs[0])))
        trainer.iterate()
        assert seen == [16 // passes] * passes + [8]  # the last: the generator's step


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("network", "strategy"), CASES)
def test_bfloat16_is_for_the_networks_alone(network: str, strategy: str, precision: str, made_up_mnist: Path) -> None:
    trainer = Trainer(case(network, strategy, made_up_mnist, f"training.precision={precision}"), CPU)
    critic, seen = trainer.networks.critic, set()
    critic.register_forward_hook(lambda _, __, result: seen.update(part.dtype for part in as_tuple(result)))
    figures, real, fake, _ = trainer.iterate()
    expected = {torch.float32} if precision == "float32" else {torch.bfloat16}
    if "gp" in strategy:
        expected = expected | {torch.float32}  # the penalty's own pass
    if network == "mcshane":
        expected = {torch.float32}  # its lengths need the digits
    assert seen == expected
    assert {value.dtype for value in (*figures.values(), real, fake, *critic.parameters())} == {torch.float32}
    assert all(value.isfinite() for value in figures.values())


def test_bfloat16_trains_like_float32(made_up_mnist: Path) -> None:
    exact, rough = (
        Trainer(case("conv", STRATEGIES[0], made_up_mnist, f"training.precision={name}"), CPU)
        for name in ("float32", "bfloat16")
    )
    assert 0 < apart(exact, rough) < 0.2


def test_gradients_do_not_add_up_over_steps() -> None:
    pair = Pair(lr=0.0)
    pair.critic_step(GradientPenalty())
    first = [parameter.grad.clone() for parameter in pair.critic.parameters() if parameter.grad is not None]
    pair.critic_step(GradientPenalty())  # nothing has moved, so the gradients are the same
    second = [parameter.grad for parameter in pair.critic.parameters() if parameter.grad is not None]
    assert first
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other)


class Ranks(World):
    """Two ranks, of which this one sees the parameters whose gradients are averaged, and doubles them."""

    seen: ClassVar[list[list[nn.Parameter]]] = []

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        parameters = list(parameters)
        self.seen.append(parameters)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(2)


def test_ranks_average_the_gradients_of_each_network_before_its_step() -> None:
    alone, ranks = Pair(lr=0.1), Pair(lr=0.1)
    start = weights(alone.generator), weights(alone.critic)
    for pair, world in ((alone, World()), (ranks, Ranks())):
        steps = Steps(Wasserstein(), Unbounded(), world)
        steps.generator_step(pair.generator, pair.critic, pair.for_generator, pair.latents)
        steps.critic_step(pair.critic, pair.for_critic, pair.real, pair.real * 0, ())
    assert Ranks.seen == [list(ranks.generator.parameters()), list(ranks.critic.parameters())]
    for before, one, other in ((start[0], alone.generator, ranks.generator), (start[1], alone.critic, ranks.critic)):
        for old, single, double in zip(before, one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(double - old, 2 * (single - old), rtol=1e-3, atol=1e-6)


def test_fakes_and_figures_carry_no_graph() -> None:
    pair, steps = Pair(), Steps(Wasserstein(), GradientPenalty())
    assert not steps.fake(pair.generator, pair.latents).requires_grad
    _, figures = steps.generator_loss(pair.generator, pair.critic, pair.latents)
    assert not figures["generator/loss"].requires_grad


@pytest.mark.parametrize("mixes", [False, True])
def test_scores_have_the_type_of_the_samples(mixes: bool) -> None:
    pair = Pair()
    steps = Steps(Wasserstein(), Unbounded(), dtype=torch.bfloat16, critic_mixes_samples=mixes)
    assert {scores.dtype for scores in steps.scores(pair.critic, pair.real, pair.fake())} == {torch.float32}


def test_lower_precision_caches_no_weights() -> None:
    """A CUDA graph would keep the casts of its first replay."""
    pair, steps = Pair(), Steps(Wasserstein(), Unbounded(), dtype=torch.bfloat16)
    with steps.cast(pair.real):
        before = pair.critic(pair.real)
        with torch.no_grad():
            for parameter in pair.critic.parameters():
                parameter.zero_()
        assert before.abs().max() > 0
        assert pair.critic(pair.real).abs().max() == 0
