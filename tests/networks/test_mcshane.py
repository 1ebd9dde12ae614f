import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wgan_cli.config.load import load_config
from wgan_cli.errors import BadInputError
from wgan_cli.networks import McShaneCritic
from wgan_cli.networks.conditional import ConcatenationCritic
from wgan_cli.networks.mcshane import McShane


def critic(shape: tuple[int, ...] = (3,), *, anchors: int = 20, temperature: float = 0.1, seed: int = 0) -> McShane:
    """With random anchors, scores and balance, in float64 and evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    network = McShaneCritic(anchors=anchors, temperature=temperature).build(shape).double().eval()
    assert isinstance(network, McShane)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


def points(count: int, *shape: int, seed: int = 1) -> Tensor:
    return 2 * torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(1, 6), st.integers(1, 30), st.floats(1e-3, 10), st.integers(0, 1000))
def test_no_pair_of_points_is_steeper_than_one(dim: int, anchors: int, temperature: float, seed: int) -> None:
    network, x = critic((dim,), anchors=anchors, temperature=temperature, seed=seed), points(40, dim, seed=seed)
    x[20:] = x[:20] + 1e-4 * x[20:]  # near pairs too
    with torch.no_grad():
        rise = (network(x)[:, None] - network(x)).abs()
    assert (rise <= torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") * (1 + 1e-9) + 1e-12).all()


def test_it_is_the_sum_of_the_two_extensions_when_cold() -> None:
    network, x = critic(temperature=1e-4), points(50, 3)
    high, low = (
        (torch.linalg.vector_norm(x[:, None] - anchors, dim=2))
        for anchors in (network.high.detach(), network.low.detach())
    )
    weight = 1 / (1 + math.exp(-network.balance.item()))
    expected = weight * (network.high_scores - high).amax(1) + (1 - weight) * (network.low_scores + low).amin(1)
    assert torch.allclose(network(x), expected, atol=20 * 1e-4)


def test_training_computes_the_same_by_a_faster_way() -> None:
    network, x = critic(), points(200, 3)
    exact = network(x)
    torch.testing.assert_close(network.train()(x), exact, atol=1e-6, rtol=0)
    gradients = []
    for mode in (True, False):
        network.train(mode).zero_grad()
        network(x).square().sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-6)


def test_gradients_are_finite_where_points_are_anchors() -> None:
    network = critic()
    for mode in (True, False):
        x = network.train(mode).high.detach().clone().requires_grad_()
        network(x).sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert torch.linalg.vector_norm(x.grad, dim=1).max() <= 1 + 1e-9


@pytest.mark.parametrize("shape", [(4,), (1, 4, 4), (2, 3, 4, 5)])
def test_samples_of_any_shape_are_vectors(shape: tuple[int, ...]) -> None:
    x = points(5, *shape)
    assert torch.equal(critic(shape)(x), critic((math.prod(shape),))(x.flatten(1)))


def test_training_far_from_zero_keeps_the_slope() -> None:
    """Squares of points far from 0 leave no digits for the difference, unless a centre is taken away first."""
    network, x = critic((1,)).float().train(), points(500, 1).float() + 1000
    network.high.data += 1000
    network.low.data += 1000
    x.requires_grad_()
    network(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() <= 1.02


def test_rounded_matrix_products_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = critic().float(), points(50, 3).float()
    exact = network(x)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert torch.equal(network.train()(x), exact)


def test_bfloat16_leaves_lengths_exact() -> None:
    network, x = critic().float(), points(50, 3).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = network.train()(x)
    assert torch.equal(found, network(x))


def test_anchors_begin_on_the_samples() -> None:
    network, real, fake = critic(), points(100, 3), points(100, 3, seed=2)
    network.place_anchors(real, fake, torch.Generator().manual_seed(0))
    for anchors, samples in ((network.high, real), (network.low, fake)):
        assert torch.cdist(anchors.detach(), samples).amin(1).max() < 1e-6


@pytest.mark.parametrize("turned", [False, True], ids=["from the centre", "to the centre"])
def test_it_learns_the_distance_between_a_point_and_a_sphere(turned: bool) -> None:
    """W1 between a point and a uniform circle of radius 3 is 3, and the best critic is a distance, one way or the
    other: one form needs a single anchor for it, the other many."""
    angles = torch.linspace(0, 2 * torch.pi, 400)[:-1]
    pair = [torch.zeros(399, 2), 3 * torch.stack([angles.cos(), angles.sin()], 1)]
    real, fake = reversed(pair) if turned else pair
    torch.manual_seed(0)
    network = McShaneCritic(anchors=8).build((2,))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(300):
        gap = network(real).mean() - network(fake).mean()
        optimizer.zero_grad()
        (-gap).backward()
        optimizer.step()
    assert 2.85 < gap.item() <= 3 + 1e-3


@pytest.mark.parametrize("kind", ["clip", "gp", "spectral", "orthogonal", "r1"])
def test_a_strategy_beside_it_is_refused(kind: str) -> None:
    with pytest.raises(
        BadInputError, match=r"critic\.kind.*slope at most 1 by construction; use lipschitz\.kind: none"
    ):
        load_config("normal_gp", ["critic={kind: mcshane}", f"lipschitz={{kind: {kind}}}"])


def test_without_a_strategy_there_is_no_warning_and_the_gap_counts() -> None:
    config = load_config("normal_gp", ["critic={kind: mcshane}", "lipschitz={kind: none}"])
    assert config.proves_gap
    assert not list(config.warnings())
    assert list(load_config("normal_gp", ["lipschitz={kind: none}"]).warnings())


def test_with_a_class_it_is_a_distance_of_samples_and_classes_together() -> None:
    """A projection would have any slope."""
    config = load_config("mnist_labels_gp", ["critic={kind: mcshane, anchors: 4}", "lipschitz={kind: none}"])
    assert config.condition is not None
    critic = config.condition.build_critic(config.critic, (2,), 3)
    assert isinstance(critic, ConcatenationCritic)
    samples, classes = points(30, 2).float(), torch.eye(3)[torch.arange(30) % 3]
    scores = critic.eval()(samples, classes)
    apart = torch.cdist(torch.cat([samples, classes], 1), torch.cat([samples, classes], 1))
    assert ((scores[:, None] - scores).abs() <= apart + 1e-4).all()
