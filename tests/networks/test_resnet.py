"""resnet: its shapes, its blocks against plain code, and its laws."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.networks.helpers import (
    LATENT,
    check_bounds,
    check_compiles,
    check_penalty,
    check_shapes,
    mixes_samples,
    read,
)
from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError
from wgan_cli.networks import ResnetCritic, ResnetGenerator
from wgan_cli.networks.layers import Residual
from wgan_cli.networks.spatial import PooledConv, UpsampledConv

PER_SAMPLE = ["none", "layer", "group", "instance"]
CONV: dict[int, Any] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
POOL: dict[int, Any] = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


@pytest.mark.parametrize("size", [28, 32, 48, 64, 96, 128])
def test_pictures_of_28_to_128_pixels(size: int) -> None:
    stages = {28: 3, 32: 4, 48: 5, 64: 5, 96: 6, 128: 6}[size]
    generator = read(ResnetGenerator, channels=[8] + [4] * (stages - 1))
    critic = read(ResnetCritic, channels=[4, 8][: stages - 1])
    check_shapes(generator, critic, (3, size, size))
    check_bounds(generator, (3, size, size))


@pytest.mark.parametrize("shape", [(1, 8), (5, 24), (3, 16, 24), (1, 16, 16, 16), (2, 4, 8, 4)])
@pytest.mark.parametrize("norm", [*PER_SAMPLE, "batch"])
def test_they_fit_series_images_and_volumes(shape: tuple[int, ...], norm: str) -> None:
    fields = {"norm": norm, "activation": "leaky_relu"}  # so few units of ReLU may all be off
    generator = read(ResnetGenerator, channels=[6, 6, 4], **fields)
    check_shapes(generator, read(ResnetCritic, channels=[4, 6], plain_blocks=1, **fields), shape)
    check_bounds(generator, shape)


def test_the_defaults_fit_cifar() -> None:
    check_shapes(ResnetGenerator(), ResnetCritic(), (3, 32, 32))


@pytest.mark.parametrize("norm", [*PER_SAMPLE, "batch"])
def test_a_spec_tells_what_its_norm_does(norm: str) -> None:
    spec = read(ResnetCritic, channels=[16, 16], norm=norm)
    assert spec.mixes_samples == spec.keeps_state == ("norm" if norm == "batch" else None)
    assert spec.draws_randomness is None
    critic = spec.build((2, 8, 16))
    assert mixes_samples(critic, (2, 8, 16)) == (norm == "batch")
    assert any(True for _ in critic.buffers()) == (norm == "batch")


@pytest.mark.parametrize("norm", PER_SAMPLE)
@pytest.mark.parametrize(
    ("shape", "channels", "plain_blocks"), [((1, 8), [2, 3], 1), ((2, 4, 8), [2, 2], 0), ((1, 2, 2, 4), [2], 0)]
)
def test_the_penalty_has_the_right_gradient(
    norm: str, shape: tuple[int, ...], channels: list[int], plain_blocks: int
) -> None:
    check_penalty(read(ResnetCritic, channels=channels, plain_blocks=plain_blocks, norm=norm), shape)


@pytest.mark.parametrize("norm", PER_SAMPLE)
def test_critics_compile(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_compiles(read(ResnetCritic, channels=[4, 4], plain_blocks=1, norm=norm), (1, 8, 8), monkeypatch)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_convolutions_that_change_the_size_are_what_they_say(dims: int, kernel: int) -> None:
    x = torch.randn(2, 3, *(6, 4, 8)[:dims], dtype=torch.float64)
    pooled, upsampled = PooledConv(dims, 3, 5, kernel).double(), UpsampledConv(dims, 3, 5, kernel).double()

    def plain(module: PooledConv | UpsampledConv, x: Tensor) -> Tensor:
        return CONV[dims](x, module.conv.weight, module.conv.bias, padding=kernel // 2)

    torch.testing.assert_close(pooled(x), POOL[dims](plain(pooled, x), 2))
    larger = functional.interpolate(x, scale_factor=2, mode="nearest")
    torch.testing.assert_close(upsampled(x), plain(upsampled, larger))


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("name", ["generator", "critic"])
def test_no_block_overwrites_what_its_shortcut_reads(name: str, norm: str) -> None:
    generator = read(ResnetGenerator, channels=[4, 4, 4], norm=norm).build(LATENT, (1, 16, 16), bounded=True)
    critic = read(ResnetCritic, channels=[4, 4], norm=norm).build((1, 16, 16))
    blocks = [module for module in {"generator": generator, "critic": critic}[name] if isinstance(module, Residual)]
    assert len(blocks) == {"generator": 2, "critic": 4}[name]
    for block in blocks:
        first = next(module for module in block.modules() if hasattr(module, "in_channels"))
        x = torch.randn(3, first.in_channels, 8, 8)
        before = x.clone()
        for context in (torch.enable_grad(), torch.no_grad()):
            with context:
                shortcut = block.shortcut(x)
                body = block.body(x)
                assert torch.equal(x, before)
                torch.testing.assert_close(block(x), shortcut + body)


def _convolved(x: Tensor, layer: nn.Module) -> Tensor:
    return functional.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)


def test_the_critic_is_that_of_the_paper() -> None:
    """Gulrajani et al. (2017), appendix F, as torch's own functions say it."""
    critic = read(ResnetCritic, channels=[6, 6]).build((3, 16, 16)).double()
    relu, pool = torch.relu, functional.avg_pool2d
    convolutions = [module for module in critic.modules() if isinstance(module, nn.Conv2d)]
    assert [layer.kernel_size[0] for layer in convolutions] == [3, 3, 1, 3, 3, 1, 3, 3, 3, 3]
    c = convolutions
    images = torch.rand(4, 3, 16, 16, dtype=torch.float64) * 2 - 1
    x = pool(_convolved(relu(_convolved(images, c[0])), c[1]), 2) + _convolved(pool(images, 2), c[2])
    x = pool(_convolved(relu(_convolved(relu(x), c[3])), c[4]), 2) + pool(_convolved(x, c[5]), 2)
    x = x + _convolved(relu(_convolved(relu(x), c[6])), c[7])
    x = x + _convolved(relu(_convolved(relu(x), c[8])), c[9])
    linear = next(module for module in critic if isinstance(module, nn.Linear))
    torch.testing.assert_close(critic(images), linear(relu(x).mean((2, 3))).flatten())


def test_the_generator_is_that_of_the_paper() -> None:
    """Gulrajani et al. (2017), appendix F, as torch's own functions say it."""
    generator = read(ResnetGenerator, channels=[6, 6, 6]).build(LATENT, (3, 16, 16), bounded=True).double()
    linear = generator[0]
    c = [module for module in generator.modules() if isinstance(module, nn.Conv2d)]
    assert [layer.kernel_size[0] for layer in c] == [3, 3, 1, 3, 3, 1, 3]
    assert sum(isinstance(module, nn.BatchNorm2d) for module in generator.modules()) == 5

    def normalised(x: Tensor) -> Tensor:
        return torch.relu(functional.batch_norm(x, None, None, training=True))

    def doubled(x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2, mode="nearest")

    latents = torch.randn(4, LATENT.dim, dtype=torch.float64)
    x = linear(latents).view(4, 6, 4, 4)
    for first, second, shortcut in (c[0:3], c[3:6]):
        body = _convolved(normalised(_convolved(doubled(normalised(x)), first)), second)
        x = _convolved(doubled(x), shortcut) + body
    torch.testing.assert_close(generator(latents), torch.tanh(_convolved(normalised(x), c[6])))


def test_a_refusal_names_the_nearest_sizes() -> None:
    with pytest.raises(BadInputError, match=r"generator\.kind: resnet with .* \(nearest to 28: 24 and 32\)"):
        load_config("mnist_gp", ["generator={kind: resnet}"])
    with pytest.raises(BadInputError, match=r"critic\.kind: resnet with .* halves each size 3 times"):
        load_config("mnist_gp", ["critic={kind: resnet, channels: [4, 4, 4]}"])
    with pytest.raises(BadInputError, match=r"critic\.norm: batch mixes"):
        load_config("mnist_gp", ["critic={kind: resnet, norm: batch}"])
    load_config("mnist_gp", ["critic={kind: resnet, norm: layer}", "generator={kind: resnet, channels: [8, 8, 8]}"])
