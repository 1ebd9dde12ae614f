from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError
from wgan_cli.evaluation.critic_fit import load_fits
from wgan_cli.lipschitz import Orthogonal
from wgan_cli.lipschitz.orthogonal import Orthonormal, Patches
from wgan_cli.lipschitz.slope import slopes
from wgan_cli.networks import ConvCritic, MlpCritic
from wgan_cli.networks.layers import activation
from wgan_cli.networks.pair import build_critic

GENTLE = ["relu", "leaky_relu", "tanh", "elu", "softplus", "maxmin"]
CRITIC = "critic={kind: mlp, hidden: [8, 8], activation: maxmin}"


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    name=st.sampled_from(GENTLE),
    rate=st.floats(0.001, 10),
    shape=st.sampled_from([(5,), (2, 8), (1, 4, 8), (1, 4, 4, 4)]),
)
def test_no_distance_becomes_longer(seed: int, name: str, rate: float, shape: tuple[int, ...]) -> None:
    """Wherever training leads the weights, be its steps far too large."""
    torch.manual_seed(seed)
    spec = (
        MlpCritic.model_validate({"hidden": (7, 12), "activation": name})
        if len(shape) == 1
        else ConvCritic.model_validate({"channels": (6, 5), "hidden": (4,), "kernel": 2, "activation": name})
    )
    critic = build_critic(spec, Orthogonal(), shape).double()
    optimizer = torch.optim.Adam(critic.parameters(), rate)
    for _ in range(5):
        optimizer.zero_grad()
        critic(torch.randn(16, *shape, dtype=torch.float64)).square().mean().backward()
        optimizer.step()
    x, y = 10 * torch.randn(2, 50, *shape, dtype=torch.float64)
    apart = torch.linalg.vector_norm((x - y).flatten(1), dim=1)
    assert ((critic(x) - critic(y)).abs() <= apart * (1 + 1e-6)).all()


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (5, 5), (4, 1)])
def test_weights_are_orthonormal_and_what_they_were_set_to(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, dtype=torch.float64)
    weight = Orthonormal()(matrix)
    small = weight @ weight.T if shape[0] < shape[1] else weight.T @ weight
    assert torch.allclose(small, torch.eye(min(shape), dtype=torch.float64), atol=1e-12)
    assert torch.allclose(Orthonormal()(weight), weight, atol=1e-12)
    assert torch.autograd.gradcheck(Orthonormal(), matrix.requires_grad_())


@pytest.mark.parametrize("sizes", [(6,), (6, 4), (2, 4, 6)])
def test_patches_are_the_convolution(sizes: tuple[int, ...]) -> None:
    convolution = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(sizes)](3, 5, 2, stride=2)
    x = torch.randn(4, 3, *sizes)
    assert torch.allclose(Patches(convolution)(x), convolution(x), atol=1e-6)


def test_with_maxmin_the_slope_is_one_nearly_everywhere() -> None:
    """So it can come near W1. With relu the slope is lost."""
    torch.manual_seed(0)
    found = {}
    for name in ("maxmin", "relu"):
        mlp = MlpCritic.model_validate({"hidden": (16, 16, 16), "activation": name})
        conv = ConvCritic.model_validate({"channels": (4, 16), "kernel": 2, "hidden": (16,), "activation": name})
        for spec, shape in ((mlp, (16,)), (conv, (1, 8, 8))):
            found[name, spec.kind] = slopes(build_critic(spec, Orthogonal(), shape), torch.randn(200, *shape))
    for kind in ("mlp", "conv"):
        assert torch.allclose(found["maxmin", kind], torch.ones(200), atol=1e-5)
        assert found["relu", kind].mean() < 0.5


@pytest.mark.parametrize("width", [1, 2, 7, 8])
def test_maxmin_sorts_pairs_and_keeps_every_value(width: int) -> None:
    x = torch.randn(20, width, 3)
    y = activation("maxmin")(x)
    half = width // 2
    assert torch.equal(y[:, :half], torch.maximum(x[:, :half], x[:, half : 2 * half]))
    assert torch.equal(y.sort(1)[0], x.sort(1)[0])


@pytest.mark.parametrize(
    "critic",
    [
        "{kind: conv, channels: [4]}",
        "{kind: conv, channels: [4], kernel: 2, norm: layer}",
        "{kind: conv, channels: [4], kernel: 2, activation: silu}",
        "{kind: resnet, channels: [4]}",
        "{kind: mlp, activation: silu}",
        "{kind: mlp, norm: layer}",
        "{kind: mlp, residual: true}",
        "{kind: mlp, dropout: 0.5}",
    ],
)
def test_critics_that_would_be_steeper_are_refused(critic: str, tmp_path: Path) -> None:
    data = [] if "mlp" in critic else ["data={kind: stacked_mnist}"]
    with pytest.raises(BadInputError, match=r"critic\.\w+: .*can't have slope 1 under orthogonal; use kind: mlp"):
        load_config("mnist_gp" if data else "normal_gp", [*data, f"critic={critic}", "lipschitz={kind: orthogonal}"])
    path = tmp_path / "critic.yaml"
    path.write_text(f"critic: {critic}\nlipschitz: {{kind: orthogonal}}\n")
    with pytest.raises(BadInputError, match=r"can't have slope 1 under orthogonal"):
        load_fits(str(path))


def test_it_is_accepted_with_fully_connected_critics() -> None:
    config = load_config("normal_gp", [CRITIC, "lipschitz={kind: orthogonal}"])
    assert config.lipschitz.proves_gap
    assert list(config.warnings()) == []


def test_graphs_refuse_it() -> None:
    with pytest.raises(BadInputError, match=r"orthogonal can't be captured by training.engine: graph; use eager"):
        load_config("normal_gp", [CRITIC, "lipschitz={kind: orthogonal}", "training.engine=graph"])
