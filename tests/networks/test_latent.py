import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wgan_cli.networks.latent import Latent


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


def test_no_seeds_give_no_latents() -> None:
    assert Latent(dim=3).from_seeds([]).shape == (0, 3)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_a_path_goes_from_seed_to_seed_at_an_even_pace(kind: str) -> None:
    latent = Latent.model_validate({"dim": 32, "kind": kind})
    path = latent.interpolate(3, 7, 9)
    torch.testing.assert_close(path[[0, -1]], latent.from_seeds([3, 7]))
    steps = (path[1:] - path[:-1]).norm(dim=1)
    assert steps.max() / steps.min() < 1.3


def test_normal_latents_keep_their_length_on_a_path() -> None:
    """The straight line between two normal draws would dip to about 0.7 of their length."""
    lengths = Latent(dim=32).interpolate(3, 7, 9).norm(dim=1)
    assert lengths.min() > 0.99 * min(lengths[0], lengths[-1])


def test_uniform_latents_follow_the_straight_line() -> None:
    latent = Latent(dim=4, kind="uniform")
    torch.testing.assert_close(latent.interpolate(3, 7, 3)[1], latent.from_seeds([3, 7]).mean(0))


def test_a_path_without_an_arc_is_straight() -> None:
    assert Latent(dim=1).interpolate(3, 7, 2).shape == (2, 1)
    assert torch.equal(Latent(dim=4).interpolate(3, 3, 2)[0], Latent(dim=4).from_seeds([3])[0])


@pytest.mark.parametrize(("kind", "law"), [("normal", stats.norm()), ("uniform", stats.uniform(-1, 2))])
@pytest.mark.parametrize("count", [1000, 4096])
def test_spread_latents_cover_their_law_evenly(kind: str, law: stats.distributions.rv_frozen, count: int) -> None:
    latent = Latent.model_validate({"dim": 8, "kind": kind})
    spread = latent.spread(count)
    assert torch.equal(spread, latent.spread(count))
    assert spread.dtype == torch.float32
    assert spread.isfinite().all()
    drawn = latent.from_seeds(range(count))
    quantiles = law.ppf((torch.arange(100_000).double().numpy() + 0.5) / 100_000)
    for of_spread, of_drawn in zip(spread.T, drawn.T, strict=True):
        distance = stats.wasserstein_distance(of_spread.numpy(), quantiles)
        assert distance < 0.25 * stats.wasserstein_distance(of_drawn.numpy(), quantiles)
    uniform = law.cdf(spread.numpy())  # of all columns together, by an independent measure
    assert stats.qmc.discrepancy(uniform) < 0.5 * stats.qmc.discrepancy(law.cdf(drawn.numpy()))


def test_more_dimensions_than_a_sobol_sequence_has_are_drawn() -> None:
    spread = Latent(dim=21_202).spread(2)
    assert spread.shape == (2, 21_202)
    assert stats.kstest(spread.flatten().numpy(), stats.norm().cdf).pvalue > 1e-3
