import pytest
import torch
from torch import nn

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


def test_hidden_layers_see_the_whole_sample() -> None:
    """Without them, a score is a sum over positions whose kernels don't overlap; with them, it is not."""
    x = torch.zeros(4, 1, 16, 16)
    x[1, :, :4, :4] = x[2, :, 12:, 12:] = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    x[3] = x[1] + x[2]  # two parts far from each other: none, each alone, both
    for hidden, is_sum in (((), True), ((8,), False), ((8, 4), False)):
        torch.manual_seed(0)
        none, one, other, both = ConvCritic(channels=(4, 8), hidden=hidden).build((1, 16, 16))(x)
        assert ((both - one - other + none).abs() < 1e-6) == is_sum


def test_hidden_layers_are_read_from_a_config_and_checked() -> None:
    config = load_config("mnist_gp", ["critic.hidden=[16, 8]"])
    linear = [layer for layer in config.critic.build((1, 28, 28)) if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(64 * 49, 16), (16, 8), (8, 1)]
    with pytest.raises(BadInputError, match=r"critic\.hidden"):
        load_config("mnist_gp", ["critic.hidden=[0]"])
