import pytest
import torch

from wgan_cli.networks import ConvCritic, ConvGenerator, Latent

IMAGES = [(1, 28, 28), (3, 32, 32), (2, 16, 24)]


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


def test_images_are_bounded() -> None:
    samples = ConvGenerator(width=4).build(Latent(dim=3), (1, 8, 8))(torch.randn(64, 3) * 1000)
    assert samples.abs().max() <= 1


def test_a_conv_critics_score_has_no_bound() -> None:
    scores = ConvCritic(width=4).build((1, 8, 8))(torch.randn(256, 1, 8, 8) * 1e6)
    assert scores.abs().max() > 100
