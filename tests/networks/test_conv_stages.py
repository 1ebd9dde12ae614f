"""conv: its stages, shapes and norms, and the networks and configs of version 0.1."""

import math
import re
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from tests.networks.helpers import (
    LATENT,
    check_bounds,
    check_compiles,
    check_penalty,
    check_shapes,
    mixes_samples,
    read,
)
from wgan_cli.config.load import config_from_dict, load_config
from wgan_cli.data.base import Dataset, DataSpec
from wgan_cli.data.endless import EndlessDataset
from wgan_cli.errors import BadInputError
from wgan_cli.networks import ConvCritic, ConvGenerator, MlpCritic
from wgan_cli.networks.base import in_batches
from wgan_cli.networks.layers import LeakyReLU
from wgan_cli.networks.pair import Networks
from wgan_cli.networks.stages import StagesSpec
from wgan_cli.training.trainer import Trainer

SHAPES = [(1, 8), (3, 40), (1, 28, 28), (3, 16, 24), (2, 8, 4, 12), (1, 16, 16, 16)]
PER_SAMPLE = ["none", "layer", "group", "instance"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", [*PER_SAMPLE, "batch"])
def test_they_fit_series_images_and_volumes(shape: tuple[int, ...], norm: str) -> None:
    generator, critic = read(ConvGenerator, channels=[8, 6, 4], norm=norm), read(ConvCritic, channels=[4, 6], norm=norm)
    check_shapes(generator, critic, shape)
    check_bounds(generator, shape)


@pytest.mark.parametrize("shape", [(2, 16), (3, 16, 32), (1, 8, 8, 16)])
@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6])
def test_every_kernel_halves_and_doubles(shape: tuple[int, ...], kernel: int) -> None:
    for final in ("conv", "transposed"):
        generator = read(ConvGenerator, channels=[6, 4, 2], kernel=kernel, final=final)
        check_shapes(generator, read(ConvCritic, channels=[3, 5, 4], kernel=kernel), shape)
        check_bounds(generator, shape)


def test_one_stage_is_enough() -> None:
    check_shapes(read(ConvGenerator, channels=[4]), read(ConvCritic, channels=[4]), (3, 6, 10))
    check_shapes(read(ConvGenerator, channels=[4], final="transposed"), read(ConvCritic, channels=[4]), (3, 6, 10))


@pytest.mark.parametrize("shape", [(1, 8), (2, 8, 8), (1, 4, 4, 8)])
@pytest.mark.parametrize("norm", [*PER_SAMPLE, "batch"])
def test_a_spec_tells_what_its_norm_does(shape: tuple[int, ...], norm: str) -> None:
    for spec in (read(ConvCritic, channels=[16, 32], norm=norm), read(ConvGenerator, channels=[8, 4], norm=norm)):
        assert spec.mixes_samples == spec.keeps_state == ("norm" if norm == "batch" else None)
        assert spec.draws_randomness is None
    critic = read(ConvCritic, channels=[16, 32], norm=norm).build(shape)
    assert mixes_samples(critic, shape) == (norm == "batch")
    assert any(True for _ in critic.buffers()) == (norm == "batch")


@pytest.mark.parametrize(("norm", "groups"), [("layer", 1), ("group", 2), ("instance", 32)])
def test_a_norm_takes_the_channels_that_it_says(norm: str, groups: int) -> None:
    generator = read(ConvGenerator, channels=[32, 8], norm=norm).build(LATENT, (1, 8, 8), bounded=True)
    assert generator[2].num_groups == groups
    x = torch.randn(3, 32, 4, 4) * 5 + 2
    parts = generator[2](x).unflatten(1, (groups, -1)).flatten(2)
    torch.testing.assert_close(parts.mean(2), torch.zeros(3, groups), atol=1e-5, rtol=0)
    torch.testing.assert_close(parts.var(2, unbiased=False), torch.ones(3, groups), atol=1e-3, rtol=0)


def test_no_norm_follows_the_first_stage_of_a_critic() -> None:
    critic = read(ConvCritic, channels=[4, 4, 4], norm="layer").build((1, 8, 8))
    kinds = [type(module).__name__ for module in critic]
    assert kinds[:2] == ["Conv2d", "InPlaceLeakyReLU"]
    assert kinds.count("GroupNorm") == 2


@pytest.mark.parametrize("norm", PER_SAMPLE)
@pytest.mark.parametrize("shape", [(1, 8), (2, 4, 8), (1, 4, 4, 8)])
def test_the_penalty_has_the_right_gradient(norm: str, shape: tuple[int, ...]) -> None:
    check_penalty(read(ConvCritic, channels=[2, 3], norm=norm), shape)


@pytest.mark.parametrize("norm", PER_SAMPLE)
@pytest.mark.parametrize("shape", [(1, 8), (1, 8, 8)])
def test_critics_compile(norm: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    check_compiles(read(ConvCritic, channels=[4, 4], norm=norm), shape, monkeypatch)


def _refusal(spec: StagesSpec, shape: tuple[int, ...]) -> str:
    with pytest.raises(ValueError, match=str(spec.kind)) as error:
        spec.check_shape(shape)
    with pytest.raises(ValueError, match=re.escape(str(error.value))):
        spec.build(LATENT, shape, bounded=True) if isinstance(spec, ConvGenerator) else spec.build(shape)
    return str(error.value)


def test_a_refusal_names_the_nearest_sizes() -> None:
    spec = read(ConvGenerator, channels=[8, 4, 2])
    assert _refusal(spec, (1, 28, 30)) == (
        "conv with channels [8, 4, 2] halves each size 2 times, so sizes must divide by 4, but a sample is 28 x 30 "
        "(nearest to 30: 28 and 32); change the sizes, take fewer stages, or use mlp"
    )
    assert "27 x 30 (nearest to 27: 24 and 28, nearest to 30: 28 and 32)" in _refusal(ConvCritic(), (3, 27, 30))
    assert "2 x 6 x 6 (nearest to 2: 4, nearest to 6: 4 and 8)" in _refusal(ConvCritic(), (1, 2, 6, 6))
    assert "halves each size once, so sizes must divide by 2" in _refusal(read(ConvGenerator, channels=[8, 4]), (1, 9))
    assert "divide by 8" in _refusal(read(ConvGenerator, channels=[8, 4, 2], final="transposed"), (3, 20, 20))
    assert "a sample here is 512 plain values; use mlp" in _refusal(ConvCritic(), (512,))
    assert "a sample here has 5 dimensions; use mlp" in _refusal(ConvGenerator(), (1, 4, 4, 4, 4))


@pytest.mark.parametrize(("norm", "channels"), [("instance", 16), ("group", 15)])
def test_a_norm_of_single_values_is_refused(norm: str, channels: int) -> None:
    spec = read(ConvCritic, channels=[4, channels], norm=norm)
    assert f"norm: {norm} would normalise single values" in _refusal(spec, (1, 4, 4))
    spec.check_shape((1, 4, 8))


def test_configs_refuse_what_the_strategy_does_not_allow() -> None:
    for norm in ("layer", "group", "instance"):
        load_config("mnist_notebook_gp", [f"critic.norm={norm}"])
    with pytest.raises(BadInputError, match=r"critic\.norm: batch mixes the samples of a batch"):
        load_config("mnist_notebook_gp", ["critic.norm=batch"])
    load_config("mnist_clip", ["critic.norm=batch"])
    for name, norm in (("generator", "batch"), ("critic", "layer")):
        change = [f"{name}.norm={norm}", "training.engine=compile"]
        if norm == "batch":
            with pytest.raises(BadInputError, match=r"generator\.norm: batch norm keeps a state"):
                load_config("mnist_notebook_gp", change)
        else:
            load_config("mnist_notebook_gp", change)


class _Fields(DataSpec):
    """Made-up series or volumes."""

    kind: Literal["fields"] = "fields"
    shape: tuple[int, ...]

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return self.shape

    def load(self, device: torch.device) -> Dataset:
        def draw(count: int, generator: torch.Generator) -> Tensor:
            return torch.randn(count, *self.shape, generator=generator)

        return EndlessDataset(draw, device)


@pytest.mark.parametrize("shape", [(2, 16), (1, 8, 8, 8)])
def test_series_and_volumes_train(shape: tuple[int, ...]) -> None:
    changes = ["generator={kind: conv, channels: [8, 4, 4]}", "critic={kind: conv, channels: [4, 8], norm: instance}"]
    config = load_config("mnist_gp", [*changes, "training.batch_size=4"]).model_copy(
        update={"data": _Fields(shape=shape)}
    )
    trainer = Trainer(config, torch.device("cpu"))
    before = [parameter.detach().clone() for parameter in trainer.networks.generator.parameters()]
    figures = [trainer.iterate()[0] for _ in range(2)]
    assert all(value.isfinite() for each in figures for value in each.values())
    for parameter, start in zip(trainer.networks.generator.parameters(), before, strict=True):
        assert not torch.equal(parameter, start)


@pytest.mark.parametrize("shape", [(2, 16), (1, 8, 8), (1, 8, 8, 8)])
def test_moving_changes_no_sample(shape: tuple[int, ...]) -> None:
    networks = Networks(
        read(ConvGenerator, channels=[8, 4, 4]),
        MlpCritic(),
        load_config("mnist_gp").lipschitz,
        LATENT,
        shape,
        bounded=True,
        average_decay=0.9,
    )
    latents = torch.randn(3, LATENT.dim)
    before = in_batches(networks.sampler, latents)
    networks.to(torch.device("cpu"))
    torch.testing.assert_close(in_batches(networks.sampler, latents), before)


# --- first weights -----------------------------------------------------------------------------------------


def test_he_counts_the_inputs_that_an_output_sums() -> None:
    torch.manual_seed(0)
    generator = read(ConvGenerator, channels=[64, 64], init="he").build(LATENT, (8, 16, 16), bounded=True)
    linear, transposed, last = (module for module in generator if hasattr(module, "weight"))
    for layer, inputs in ((linear, LATENT.dim), (transposed, 64 * 4), (last, 64 * 9)):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.03)
        assert not layer.bias.any()


# --- version 0.1 -------------------------------------------------------------------------------------------


def _generator_of_version_0_1(width: int, norm: bool) -> nn.Sequential:
    def after(channels: int) -> list[nn.Module]:
        return [*([nn.BatchNorm2d(channels)] if norm else []), LeakyReLU(0.2)]

    return nn.Sequential(
        *(nn.Linear(5, width * 49), nn.Unflatten(1, (width, 7, 7)), *after(width)),
        *(nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1), *after(width // 2)),
        *(nn.ConvTranspose2d(width // 2, width // 4, 4, stride=2, padding=1), *after(width // 4)),
        *(nn.Conv2d(width // 4, 1, 3, padding=1), nn.Tanh()),
    )


def _critic_of_version_0_1(width: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, width, 4, stride=2, padding=1), LeakyReLU(0.2)),
        *(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), LeakyReLU(0.2)),
        *(nn.Flatten(), nn.Linear(2 * width * 49, 1), nn.Flatten(0)),
    )


def _assert_same(network: nn.Module, old: nn.Module, inputs: Tensor) -> None:
    state, old_state = network.state_dict(), old.state_dict()
    assert list(state) == list(old_state)
    assert all(torch.equal(state[name], old_state[name]) for name in state)
    assert torch.equal(network(inputs), old(inputs))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_networks_of_version_0_1_are_the_same_to_the_bit(norm: str) -> None:
    torch.manual_seed(3)
    generator = read(ConvGenerator, width=32, norm=norm).build(LATENT, (1, 28, 28), bounded=True)
    critic = read(ConvCritic, width=8).build((1, 28, 28))
    torch.manual_seed(3)
    old_generator, old_critic = _generator_of_version_0_1(32, norm == "batch"), _critic_of_version_0_1(8)
    _assert_same(generator, old_generator, torch.randn(4, 5))
    _assert_same(critic, old_critic, torch.randn(4, 1, 28, 28))


def test_configs_of_version_0_1_are_read() -> None:
    assert read(ConvGenerator, width=128) == ConvGenerator() == read(ConvGenerator, channels=[128, 64, 32])
    assert read(ConvCritic, width=64) == ConvCritic() == read(ConvCritic, channels=[64, 128])
    config = load_config("mnist_notebook_gp", ["generator.channels=[128, 64, 32]", "critic.channels=[64, 128]"])
    tree = config.to_dict()
    old = {**tree, "generator": {"kind": "conv", "norm": "none", "init": "torch", "width": 128}}
    old["critic"] = {"kind": "conv", "norm": "none", "init": "torch", "activation": "leaky_relu", "width": 64}
    assert config_from_dict(old, "old.pt").differences(config) == []


def test_both_forms_at_once_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"generator: width has become channels; write channels: \[8, 4, 2\]"):
        load_config("mnist_gp", ["generator.width=8"])
    with pytest.raises(BadInputError, match=r"generator\.channels: must have at least one number"):
        load_config("mnist_gp", ["generator.channels=[]"])
    with pytest.raises(BadInputError, match=r"critic\.channels\.1: must be greater than or equal to 1, but is 0"):
        load_config("mnist_gp", ["critic={kind: conv, channels: [4, 0]}"])
