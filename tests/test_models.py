import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from wgan_cli import models
from wgan_cli.lipschitz import GradientPenalty
from wgan_cli.models import (
    ConvCritic,
    ConvGenerator,
    Latent,
    MlpCritic,
    MlpGenerator,
    averaged,
    generate,
    parameter_count,
)

SHAPES = [(1,), (512,), (1, 28, 28), (3, 32, 32), (2, 16, 24)]
IMAGES = [shape for shape in SHAPES if len(shape) == 3]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_mlps_fit_any_shape(shape: tuple[int, ...], norm: str) -> None:
    generator = MlpGenerator.model_validate({"hidden": (16,), "norm": norm}).build(Latent(dim=5), shape)
    critic = MlpCritic.model_validate({"hidden": (16,), "norm": norm}).build(shape)
    samples = generator(torch.randn(4, 5))
    assert samples.shape == (4, *shape)
    assert critic(samples).shape == (4,)


@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_convs_fit_any_image_whose_sides_divide_by_4(shape: tuple[int, ...], norm: str) -> None:
    generator = ConvGenerator.model_validate({"width": 8, "norm": norm}).build(Latent(dim=5), shape)
    samples = generator(torch.randn(4, 5))
    assert samples.shape == (4, *shape)
    assert ConvCritic(width=4).build(shape)(samples).shape == (4,)


@pytest.mark.parametrize("shape", [(1,), (1, 28, 30), (3, 27, 28)])
def test_convs_refuse_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="use mlp"):
        ConvCritic().build(shape)
    with pytest.raises(ValueError, match="use mlp"):
        ConvGenerator().build(Latent(dim=5), shape)


def test_images_are_bounded_and_plain_values_are_not() -> None:
    for shape, bounded in (((1, 28, 28), True), ((1,), False)):
        generator = MlpGenerator(hidden=()).build(Latent(dim=3), shape)
        samples = generator(torch.randn(64, 3) * 1000)
        assert bool((samples.abs() <= 1).all()) == bounded


def test_a_critic_has_no_bounded_output() -> None:
    for critic in (MlpCritic(hidden=(8,)).build((1, 8, 8)), ConvCritic(width=4).build((1, 8, 8))):
        scores = critic(torch.randn(256, 1, 8, 8) * 1e6)
        assert scores.abs().max() > 100


def test_parameter_count_of_a_known_network() -> None:
    # The recipe's critic: 512-256-128-1.
    expected = 512 * 256 + 256 + 256 * 128 + 128 + 128 + 1
    assert parameter_count(MlpCritic(hidden=(256, 128)).build((512,))) == expected


@pytest.mark.parametrize(("init", "std"), [("dcgan", 0.02), ("xavier", math.sqrt(2 / (256 + 512)))])
def test_init_has_the_spread_it_names(init: str, std: float) -> None:
    critic = MlpCritic.model_validate({"hidden": (512, 256), "init": init}).build((784,))
    second = [module for module in critic.modules() if isinstance(module, nn.Linear)][1]
    assert second.weight.std().item() == pytest.approx(std, rel=0.02)
    assert not second.bias.any()


@pytest.mark.parametrize(("kind", "law"), [("normal", stats.norm()), ("uniform", stats.uniform(-1, 2))])
def test_latents_have_their_law(kind: str, law: stats.distributions.rv_frozen) -> None:
    latent = Latent.model_validate({"dim": 4, "kind": kind})
    streamed = latent.draw(2000, torch.Generator().manual_seed(0))
    seeded = latent.from_seeds(range(2000))  # near seeds must be as good as one stream
    for draws in (streamed, seeded):
        assert stats.kstest(draws.flatten().numpy(), law.cdf).pvalue > 1e-3
    correlation = torch.corrcoef(torch.stack([seeded[:-1].flatten(), seeded[1:].flatten()]))[0, 1]
    assert abs(correlation) < 4 / math.sqrt(seeded.numel())


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8), st.sampled_from([1, 15, 16, 17, 128]))
def test_a_seed_has_its_own_latent(seeds: list[int], dim: int) -> None:
    latent = Latent(dim=dim)
    together = latent.from_seeds(seeds)
    assert all(torch.equal(latent.from_seeds([seed])[0], row) for seed, row in zip(seeds, together, strict=True))


def test_generate_is_in_evaluation_mode_and_restores_training() -> None:
    generator = MlpGenerator(hidden=(64,), dropout=0.5).build(Latent(dim=4), (8,))
    latents = torch.randn(10, 4)
    assert torch.equal(generate(generator, latents), generate(generator, latents))
    torch.testing.assert_close(generate(generator, latents, batch_size=3), generate(generator, latents))
    assert generator.training


def test_the_average_follows_its_own_formula() -> None:
    network = nn.Linear(1, 1)
    average = averaged(network, decay=0.9)
    weight = expected = None
    for updates in range(120):
        with torch.no_grad():
            network.weight.fill_(float(updates**1.5 % 7))
        average.update_parameters(network)
        weight = network.weight.item()
        decay = min(0.9, (1 + updates) / (10 + updates))
        expected = weight if expected is None else decay * expected + (1 - decay) * weight
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
    assert expected != weight


def test_the_average_forgets_the_start_early() -> None:
    network = nn.Linear(1, 1)
    average = averaged(network, decay=0.999)
    for step in range(1500):
        with torch.no_grad():
            network.weight.fill_(100.0 if step < 100 else 1.0)
        average.update_parameters(network)
    assert average.module.weight.item() == pytest.approx(1.0, abs=0.01)  # a fixed 0.999 would still be near 25


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_kinked_activations_are_torchs_own_to_the_second_derivative(slope: float) -> None:
    def ours(x: torch.Tensor) -> torch.Tensor:
        return models.LeakyReLU(slope)(x * 1)  # it works in place

    def theirs(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.leaky_relu(x, slope)

    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.equal(ours(x), theirs(x))
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
    assert torch.autograd.gradcheck(ours, x)
    assert torch.autograd.gradgradcheck(ours, x)
    seconds = []
    for activation in (ours, theirs):
        weight = torch.full((3,), 2.0, dtype=torch.float64, requires_grad=True)
        (slopes,) = torch.autograd.grad(activation(x * weight).sum(), x, create_graph=True)
        seconds.append(torch.autograd.grad(slopes.square().sum(), weight)[0])
    assert torch.equal(*seconds)


def test_a_penaltys_second_pass_does_no_work_for_nothing() -> None:
    """torch's own leaky ReLU sends zeros back through every layer; these are the products of a step, counted."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Products(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm)
            return func(*args, **(kwargs or {}))

    critic = MlpCritic(hidden=(8, 8)).build((4,))
    real, fake, uniform = torch.randn(6, 4), torch.randn(6, 4), torch.rand(6)
    with Products() as products:
        GradientPenalty(weight=1.0).penalty(critic, real, fake, uniform).backward()
    # Three layers: a pass forward, one back to the points, and from there for each layer a product for its weight
    # and one that goes on; the first has nothing before it, and the last nothing behind it.
    assert products.count <= 3 + 3 + 5
