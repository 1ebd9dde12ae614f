from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError
from wgan_cli.evaluation.critic_fit import load_fits
from wgan_cli.lipschitz import Orthogonal
from wgan_cli.lipschitz.slope import slopes
from wgan_cli.networks import MlpCritic
from wgan_cli.networks.layers import activation
from wgan_cli.networks.pair import build_critic

GENTLE = ["relu", "leaky_relu", "tanh", "elu", "softplus", "maxmin"]
CRITIC = "critic={kind: mlp, hidden: [8, 8], activation: maxmin}"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), name=st.sampled_from(GENTLE), rate=st.floats(0.001, 10))
def test_no_distance_becomes_longer(seed: int, name: str, rate: float) -> None:
    """Wherever training leads the weights, be its steps far too large."""
    torch.manual_seed(seed)
    spec = MlpCritic.model_validate({"hidden": (7, 12), "activation": name})
    critic = build_critic(spec, Orthogonal(), (5,)).double()
    optimizer = torch.optim.Adam(critic.parameters(), rate)
    for _ in range(5):
        optimizer.zero_grad()
        critic(torch.randn(16, 5, dtype=torch.float64)).square().mean().backward()
        optimizer.step()
    x, y = 10 * torch.randn(2, 50, 5, dtype=torch.float64)
    assert ((critic(x) - critic(y)).abs() <= torch.linalg.vector_norm(x - y, dim=1) * (1 + 1e-6)).all()


def test_with_maxmin_the_slope_is_one_nearly_everywhere() -> None:
    """So it can come near W1. With relu the slope is lost."""
    torch.manual_seed(0)
    found = {}
    for name in ("maxmin", "relu"):
        spec = MlpCritic.model_validate({"hidden": (16, 16, 16), "activation": name})
        found[name] = slopes(build_critic(spec, Orthogonal(), (16,)), torch.randn(200, 16))
    assert torch.allclose(found["maxmin"], torch.ones(200), atol=1e-5)
    assert found["relu"].mean() < 0.5


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
        "{kind: mlp, activation: silu}",
        "{kind: mlp, norm: layer}",
        "{kind: mlp, residual: true}",
        "{kind: mlp, dropout: 0.5}",
    ],
)
def test_critics_that_would_be_steeper_are_refused(critic: str, tmp_path: Path) -> None:
    data = ["data={kind: stacked_mnist}"] if "conv" in critic else []
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


@pytest.mark.parametrize("engine", ["compile", "graph"])
def test_engines_that_trace_or_capture_refuse_it(engine: str) -> None:
    with pytest.raises(BadInputError, match=f"orthogonal can't work under training.engine: {engine}; use eager"):
        load_config("normal_gp", [CRITIC, "lipschitz={kind: orthogonal}", f"training.engine={engine}"])
