import pytest
import torch

from tests.networks.helpers import LATENT
from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError
from wgan_cli.networks import ConvCritic, ConvGenerator

IMAGES = [(1, 28, 28), (3, 32, 32), (2, 16, 24)]


@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_convs_fit_any_image_whose_sides_divide_by_4(shape: tuple[int, ...], norm: str) -> None:
    generator = ConvGenerator.model_validate({"channels": (8, 4, 2), "norm": norm}).build(LATENT, shape, bounded=True)
    samples = generator(torch.randn(4, LATENT.dim))
    assert samples.shape == (4, *shape)
    assert ConvCritic(channels=(4, 8)).build(shape)(samples).shape == (4,)


@pytest.mark.parametrize("shape", [(1,), (1, 28, 30), (3, 27, 28)])
def test_convs_refuse_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"(use|or) mlp"):
        ConvCritic().build(shape)
    with pytest.raises(ValueError, match=r"(use|or) mlp"):
        ConvGenerator().build(LATENT, shape, bounded=False)


def test_bounded_samples_end_in_tanh_and_others_have_no_limit() -> None:
    for bounded in (True, False):
        generator = ConvGenerator(channels=(4, 2, 1)).build(LATENT, (1, 8, 8), bounded=bounded)
        samples = generator(torch.randn(64, LATENT.dim) * 1000)
        assert (samples.abs().max() <= 1).item() == bounded


def test_a_conv_critics_score_has_no_bound() -> None:
    scores = ConvCritic(channels=(4, 8)).build((1, 8, 8))(torch.randn(256, 1, 8, 8) * 1e6)
    assert scores.abs().max() > 100


def test_hidden_layers_of_a_critic_see_the_sample_as_a_whole() -> None:
    """Without them a score is a sum over places: moving parts of two samples about changes no sum of scores."""
    torch.manual_seed(0)
    left, right = torch.randn(2, 5, 1, 16, 16)
    left[..., 4:], right[..., :12] = 0, 0  # further apart than a kernel of the second stage reaches
    for hidden, is_sum in (((), True), ((8,), False)):
        critic = ConvCritic.model_validate({"channels": (4, 8), "hidden": hidden}).build((1, 16, 16)).double()
        apart = critic(left.double()) + critic(right.double())
        together = critic((left + right).double()) + critic(torch.zeros_like(left).double())
        assert torch.allclose(apart, together) == is_sum


def test_hidden_layers_have_their_widths() -> None:
    plain, deep = (ConvCritic(channels=(4, 8), hidden=hidden).build((1, 8, 8)) for hidden in ((), (16, 5)))
    inputs = 8 * 2 * 2
    added = inputs * 16 + 16 + 16 * 5 + 5 + 5 + 1 - (inputs + 1)
    counts = [sum(weight.numel() for weight in critic.parameters()) for critic in (plain, deep)]
    assert counts[1] - counts[0] == added


def test_hidden_layers_are_read_from_a_config() -> None:
    config = load_config("mnist_gp", ["critic={kind: conv, channels: [4, 8], hidden: [16]}"])
    assert isinstance(config.critic, ConvCritic)
    assert config.critic.hidden == (16,)
    with pytest.raises(BadInputError, match=r"critic\.hidden"):
        load_config("mnist_gp", ["critic={kind: conv, channels: [4, 8], hidden: [0]}"])
