"""mlp: shortcuts, and which layers have the norm."""

import pytest
import torch
from torch import nn

from tests.networks.helpers import LATENT, check_compiles, check_penalty, check_shapes, mixes_samples, read
from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError
from wgan_cli.networks import MlpCritic, MlpGenerator
from wgan_cli.networks.layers import Residual


@pytest.mark.parametrize("shape", [(1,), (7,), (1, 8), (1, 4, 4), (2, 2, 2, 2)])
@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_they_fit_any_shape(shape: tuple[int, ...], norm: str) -> None:
    fields = {"hidden": [12, 12, 12], "residual": True, "norm": norm}
    check_shapes(read(MlpGenerator, **fields), read(MlpCritic, **fields), shape)
    critic = read(MlpCritic, **fields)
    assert mixes_samples(critic.build(shape), shape) == bool(critic.mixes_samples) == (norm == "batch")


def test_shortcuts_alone_pass_the_first_layer_on() -> None:
    critic = read(MlpCritic, hidden=[6, 6, 6], residual=True, activation="tanh").build((4,))
    blocks = [module for module in critic if isinstance(module, Residual)]
    assert len(blocks) == 2
    for block in blocks:
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
    first, last = (module for module in critic if isinstance(module, nn.Linear))
    x = torch.randn(5, 4)
    torch.testing.assert_close(critic(x), last(torch.tanh(first(x))).flatten())


def test_a_block_adds_its_input() -> None:
    critic = read(MlpCritic, hidden=[6, 6], residual=True, activation="relu").build((4,))
    first, hidden, last = (module for module in critic.modules() if isinstance(module, nn.Linear))
    x = torch.randn(5, 4)
    h = torch.relu(first(x))
    torch.testing.assert_close(critic(x), last(h + torch.relu(hidden(h))).flatten())


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
def test_the_penalty_has_the_right_gradient(norm: str, activation: str) -> None:
    check_penalty(read(MlpCritic, hidden=[3, 3, 3], residual=True, norm=norm, activation=activation), (2,))


def test_critics_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    check_compiles(read(MlpCritic, hidden=[8, 8], residual=True), (3,), monkeypatch)


@pytest.mark.parametrize(("norm_first", "norms"), [(True, 3), (False, 2)])
def test_the_first_layer_can_do_without_the_norm(norm_first: bool, norms: int) -> None:
    generator = read(MlpGenerator, hidden=[4, 5, 6], norm="batch", norm_first=norm_first)
    network = generator.build(LATENT, (3,), bounded=True)
    assert sum(isinstance(module, nn.BatchNorm1d) for module in network) == norms
    assert isinstance(network[1], nn.BatchNorm1d) == norm_first


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hidden: [8, 4], residual: true", r"residual: needs hidden layers of one width, but hidden is \[8, 4\]"),
        ("hidden: [8], residual: true", r"residual: needs at least two hidden layers, but hidden is \[8\]"),
        ("hidden: [], residual: true", r"residual: needs at least two hidden layers, but hidden is \[\]"),
        ("norm_first: false", r"norm_first: is false, but there is no norm"),
        ("hidden: [0], residual: true", r"hidden\.0: must be greater than or equal to 1"),
    ],
)
def test_fields_that_do_not_fit_are_refused(spec: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as error:
        load_config("normal_gp", [f"critic={{kind: mlp, {spec}}}"])
    assert len(str(error.value).splitlines()) == 1
