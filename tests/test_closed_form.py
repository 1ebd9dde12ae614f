"""The closed form of a critic's scores, slopes and gradients: autograd, finite differences and known answers agree."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from tests.training.helpers import CPU, SMALL, apart, leave_out_machine_code, weights
from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.lipschitz import R1, GradientPenalty, LipschitzSpec
from wgan_cli.lipschitz.slope import JointPass, slopes
from wgan_cli.networks import ConvCritic, CriticSpec, McShaneCritic, MlpCritic, ResnetCritic
from wgan_cli.networks.kinked import Kinked, critic_of
from wgan_cli.objectives import Gan, Hinge, ObjectiveSpec, Relativistic, Wasserstein
from wgan_cli.training.steps import Steps
from wgan_cli.training.trainer import Trainer

MLP = ("generator.hidden=[8]", "critic.hidden=[8, 6]")
CONV = ("generator={kind: conv, channels: [4, 2, 1]}", "critic={kind: conv, channels: [2, 4], hidden: [6]}")


@st.composite
def critics(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """A critic in float64, with biases or without, and the shape of its samples."""
    kinked = {"activation": draw(st.sampled_from(["relu", "leaky_relu"]))}
    hidden = tuple(draw(st.lists(st.integers(1, 5), max_size=3)))
    if draw(st.booleans()):
        shape = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
        spec: CriticSpec = MlpCritic.model_validate({"hidden": hidden, **kinked})
    else:
        channels = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=2)))
        shape = (draw(st.integers(1, 2)), *[4] * draw(st.integers(1, 3)))
        kernel = draw(st.sampled_from([2, 4]))
        spec = ConvCritic.model_validate({"channels": channels, "kernel": kernel, "hidden": hidden[:1], **kinked})
    torch.manual_seed(draw(st.integers(0, 1000)))
    critic = spec.build(shape).double()
    if draw(st.booleans()):
        for layer in critic:
            if getattr(layer, "bias", None) is not None:
                layer.register_parameter("bias", None)
    elif len(shape) == 3 and draw(st.booleans()):  # as `Networks.to` does
        critic.to(memory_format=torch.channels_last)
    return critic, shape


strategies = st.builds(
    GradientPenalty,
    weight=st.sampled_from([0.5, 10.0]),
    target=st.sampled_from([0.1, 1.0]),
    sided=st.sampled_from(["one", "two"]),
    points=st.sampled_from(["between", "noise"]),
) | st.builds(R1, weight=st.sampled_from([0.0, 1.0]), fake_weight=st.just(2.0))
objectives = st.sampled_from([Wasserstein(), Hinge(), Gan(), Relativistic()])


def result(steps: Steps, critic: nn.Module, *arguments: Any) -> dict[str, Tensor]:
    """The figures of a critic's loss, and its gradient by each of the weights."""
    loss, parts = steps.critic_loss(critic, *arguments)
    names, parameters = zip(*critic.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return steps.critic_figures(parts) | dict(zip(names, gradients, strict=True))


def check_agreement(critic: nn.Module, strategy: LipschitzSpec, objective: ObjectiveSpec, *batch: Any) -> None:
    """The closed form gives what autograd gives."""
    steps = Steps(objective, strategy)
    closed = result(replace(steps, critic_gives_slopes=True), critic, *batch)
    expected = result(steps, critic, *batch)
    assert list(closed) == list(expected)
    for name, value in closed.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-10, atol=1e-10, msg=name)


@settings(max_examples=100, deadline=None)
@given(critics(), strategies, objectives, st.integers(1, 5))
def test_the_closed_form_is_what_autograd_computes(
    critic_and_shape: tuple[nn.Module, tuple[int, ...]], strategy: LipschitzSpec, objective: ObjectiveSpec, batch: int
) -> None:
    critic, shape = critic_and_shape
    real, fake = torch.randn(2, batch, *shape, dtype=torch.float64)
    noise = strategy.noise(batch, shape, torch.Generator().manual_seed(0))
    check_agreement(critic, strategy, objective, real, fake, tuple(numbers.double() for numbers in noise))


@pytest.mark.parametrize(
    ("spec", "shape"), [(MlpCritic(hidden=(5, 4)), (3,)), (ConvCritic(channels=(2, 3), hidden=(4,)), (1, 4, 4))]
)
def test_gradients_are_difference_quotients(spec: CriticSpec, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    critic = spec.build(shape).double()
    names, values = zip(*critic.named_parameters(), strict=True)
    samples, points = torch.randn(2, 3, *shape, dtype=torch.float64)

    def value(step: float = 0.0) -> Tensor:
        moved = {name: old + step * way for name, old, way in zip(names, values, ways, strict=True)}
        scores, at_points = functional_call(critic, moved, (samples, points[:2]))
        return scores @ torch.tensor([1.0, -2.0, 3.0]).double() + at_points @ torch.tensor([4.0, 5.0]).double()

    for _ in range(5):
        ways = [torch.randn_like(old) for old in values]
        gradients = torch.autograd.grad(value(), values)
        slope = sum((one * other).sum() for one, other in zip(gradients, ways, strict=True))
        with torch.no_grad():
            quotient = (value(1e-6) - value(-1e-6)) / 2e-6
        torch.testing.assert_close(slope, quotient, rtol=1e-6, atol=1e-7)


def test_a_linear_critics_gradient_is_known() -> None:
    critic = critic_of([nn.Flatten(), nn.Linear(4, 1), nn.Flatten(0)]).double()
    real, fake = torch.randn(2, 5, 4, dtype=torch.float64)
    steps = Steps(Wasserstein(), GradientPenalty(weight=3.0), critic_gives_slopes=True)
    found = result(steps, critic, real, fake, (torch.rand(5, dtype=torch.float64),))
    weight = critic[1].weight.detach()
    norm = weight.norm()
    expected = fake.mean(0) - real.mean(0) + 6 * (norm - 1) * weight / norm
    torch.testing.assert_close(found["1.weight"], expected, rtol=1e-12, atol=1e-12)
    assert found["1.bias"].abs().max() < 1e-12
    assert found["critic/penalty"].item() == pytest.approx(3 * (norm - 1).square().item(), abs=1e-12)


@pytest.mark.parametrize("sided", ["one", "two"])
@pytest.mark.parametrize(
    ("spec", "shape"), [(MlpCritic(hidden=(5, 4)), (3,)), (ConvCritic(channels=(2, 3)), (1, 4, 4))]
)
def test_where_the_slope_is_zero_its_gradient_is_zero(spec: CriticSpec, shape: tuple[int, ...], sided: str) -> None:
    critic = spec.build(shape).double()
    with torch.no_grad():
        critic[-2].weight.zero_()  # of the last layer
    real, fake = torch.randn(2, 4, *shape, dtype=torch.float64)
    strategy = GradientPenalty.model_validate({"sided": sided})
    check_agreement(critic, strategy, Wasserstein(), real, fake, (torch.rand(4, dtype=torch.float64),))
    _, at_points = critic(real, fake)
    at_points.sum().backward()
    assert at_points.tolist() == [0] * 4
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in critic.parameters())


KINKED = [
    MlpCritic(),
    MlpCritic(hidden=()),
    MlpCritic(activation="relu"),
    ConvCritic(),
    ConvCritic(channels=(4,), hidden=(8, 8), activation="relu"),
]
OTHERS = [
    MlpCritic(activation="tanh"),
    MlpCritic(activation="maxmin"),
    MlpCritic(norm="layer"),
    MlpCritic(norm="layer", norm_first=False),
    MlpCritic(dropout=0.1),
    MlpCritic(residual=True),
    ConvCritic(activation="silu"),
    ConvCritic(norm="layer"),
    ResnetCritic(),
    McShaneCritic(),
]


@pytest.mark.parametrize(("spec", "expected"), [(spec, True) for spec in KINKED] + [(spec, False) for spec in OTHERS])
def test_only_critics_of_linear_layers_and_kinks_have_the_closed_form(spec: CriticSpec, expected: bool) -> None:
    critic = spec.build((1, 16, 16))
    assert isinstance(critic, Kinked) == expected
    samples = torch.randn(3, 1, 16, 16)
    assert critic(samples).shape == (3,)
    if expected:
        scores, at_points = critic(samples, samples[:2])
        torch.testing.assert_close(scores, critic(samples))
        torch.testing.assert_close(at_points, slopes(critic, samples[:2]))


def test_layers_in_another_order_are_no_such_critic() -> None:
    wide, last, kink = nn.Linear(3, 3), nn.Linear(3, 1), MlpCritic().build((3,))[2]
    assert isinstance(critic_of([wide, kink, last]), Kinked)
    for layers in ([wide, last], [wide, kink, kink, last], [kink, last], [wide, kink, wide], [last, kink]):
        assert not isinstance(critic_of(layers), Kinked)


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        (("lipschitz={kind: gp}",), [3]),
        (("lipschitz={kind: r1}",), [3]),
        (("lipschitz={kind: r1, fake_weight: 1.0}",), [3, 2]),
        (("lipschitz={kind: clip, bound: 0.1}",), [1]),
        (("critic.activation=tanh",), [1, 1]),
        (("critic.norm=layer",), [1, 1]),
        (("training.precision=bfloat16",), [1, 1]),
    ],
)
def test_a_critic_step_takes_the_closed_form_where_it_can(changes: tuple[str, ...], passes: list[int]) -> None:
    """One pass of samples and points together; passes of one argument are autograd's."""
    trainer = Trainer(load_config("normal_gp", [*SMALL, *MLP, *changes, "training.n_critic=1"]), CPU)
    seen: list[int] = []
    trainer.networks.critic.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs)))
    trainer.iterate()
    assert seen == [*passes, 1]  # the last: the generator's step


def case(network: str, mnist: Path, *more: str) -> RunConfig:
    name, changes = {"mlp": ("normal_gp", MLP), "conv": ("mnist_gp", (*CONV, f"data.root={mnist}"))}[network]
    return load_config(name, [*SMALL, *changes, *more])


def without(trainer: Trainer) -> Trainer:
    """The trainer, with autograd in place of the closed form."""
    assert trainer.steps.critic_gives_slopes
    trainer.steps = replace(trainer.steps, critic_gives_slopes=False)
    return trainer


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("engine", ["eager", "compile"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_trainer_reaches_the_weights_that_autograd_gives(
    network: str, engine: str, made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out_machine_code(monkeypatch)
    closed = Trainer(case(network, made_up_mnist, f"training.engine={engine}"), CPU)
    before = weights(closed)
    assert apart(closed, without(Trainer(case(network, made_up_mnist), CPU)), iterations=10) < 1e-10
    assert (weights(closed) - before).norm() > 0.01 * before.norm()  # they did move


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_in_float32_gradients_differ_by_rounding_alone(network: str, made_up_mnist: Path) -> None:
    """Of weights that can't be said: where a bias moves nothing but the level of all scores, its gradient is zero up to
    rounding, and Adam makes a step of that. Nor of the generator's loss, which is that level."""
    trainers = [Trainer(case(network, made_up_mnist, "training.n_critic=1"), CPU) for _ in range(2)]
    closed, autograd = trainers[0], without(trainers[1])
    figures, expected = closed.iterate().figures, autograd.iterate().figures
    assert list(figures) == list(expected)
    for name in [name for name in figures if name.startswith("critic/")]:
        torch.testing.assert_close(figures[name], expected[name], rtol=1e-5, atol=1e-5, msg=name)
    for which in ("critic", "generator"):
        one, other = (
            torch.cat([weight.grad.flatten() for weight in getattr(trainer.networks, which).parameters()])
            for trainer in trainers
        )
        assert (one - other).norm() < 1e-5 * other.norm()


def test_it_is_differentiated_once_and_by_the_weights_alone() -> None:
    critic = MlpCritic(hidden=(4,)).build((3,))
    samples = torch.randn(5, 3, requires_grad=True)
    scores, at_points = critic(samples, samples)
    total = scores.sum() + at_points.sum()
    total.backward(retain_graph=True)
    assert samples.grad is None
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()
    scores, _ = critic(samples, samples)
    (gradient,) = torch.autograd.grad(scores.square().sum(), [critic[1].weight], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_samples_are_scored_whether_or_not_slopes_are_asked_for() -> None:
    critic, samples = MlpCritic().build((3,)), torch.randn(4, 3)
    plain, joint = (JointPass(critic, samples[:1], samples[1:]) for _ in range(2))
    first, second = (slopes(joint, samples[part], create_graph=True) for part in (slice(2), slice(2, None)))
    for real, fake in (plain.scores, joint.scores):
        torch.testing.assert_close(real, critic(samples[:1]))
        torch.testing.assert_close(fake, critic(samples[1:]))
    torch.testing.assert_close(joint(samples), critic(samples))
    torch.testing.assert_close(torch.cat([first, second]), slopes(critic, samples))


@pytest.mark.usefixtures("in_float64")
def test_the_memory_format_of_samples_changes_nothing() -> None:
    critic = ConvCritic(channels=(4, 5)).build((3, 8, 8))
    real, fake, t = torch.randn(6, 3, 8, 8), torch.randn(6, 3, 8, 8), (torch.rand(6),)
    steps = Steps(Wasserstein(), GradientPenalty(), critic_gives_slopes=True)
    expected = result(steps, critic, real, fake, t)
    last = [tensor.to(memory_format=torch.channels_last) for tensor in (real, fake)]
    found = result(steps, critic.to(memory_format=torch.channels_last), *last, t)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
