"""The lower bound of W1, against its formula, the laws of the McShane extension, known distances, and SciPy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wgan_cli.lipschitz.bound import SCALES, Bound, best_factor, extended, lower_bound
from wgan_cli.lipschitz.bound import proved as proved_by
from wgan_cli.transport import costs
from wgan_cli.transport.confidence import welch_freedom


def draws(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 10**6), dim=st.sampled_from([1, 3, 40, 100]), count=st.integers(1, 30))
def test_the_extension_is_its_formula(seed: int, dim: int, count: int) -> None:
    anchors, points, scores = draws(seed, count, dim), draws(seed + 1, 7, dim) + 5, 3 * draws(seed + 2, 2, count)
    distances = np.linalg.norm(points.numpy()[:, None] - anchors.numpy()[None], axis=2)
    expected = (scores.numpy()[:, None] - distances[None]).max(2)
    assert extended(anchors, scores, points).numpy() == pytest.approx(expected, abs=1e-4)
    assert extended(anchors, scores[0], points).numpy() == pytest.approx(expected[0], abs=1e-4)


@given(seed=st.integers(0, 10**6), dim=st.sampled_from([1, 3, 40, 100]), steepness=st.floats(0.01, 100))
def test_the_extension_of_any_scores_has_slope_at_most_one(seed: int, dim: int, steepness: float) -> None:
    anchors, points = draws(seed, 20, dim).double(), draws(seed + 1, 30, dim).double()
    values = extended(anchors, steepness * draws(seed + 2, 20).double(), points)
    rise, run = (values[:, None] - values).abs(), torch.cdist(points, points)
    assert (rise <= run + 1e-6).all()


def test_scores_of_slope_at_most_one_are_kept_at_the_anchors() -> None:
    anchors = draws(0, 50, 3).double()
    scores = torch.linalg.vector_norm(anchors - 1, dim=1)
    assert torch.allclose(extended(anchors, scores, anchors), scores)


@pytest.mark.parametrize("dim", [3, 100])
def test_the_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch, dim: int) -> None:
    anchors, scores, points = draws(0, 10, dim), draws(1, 2, 10), draws(2, 25, dim)
    whole = extended(anchors, scores, points)
    monkeypatch.setattr(costs, "PIECE", 40)
    assert torch.allclose(extended(anchors, scores, points), whole, rtol=1e-6, atol=1e-6)


def shifted(seed: int, shift: float, *shape: int) -> list[Tensor]:
    """Real and fake samples of normals whose first values are `shift` apart: so is their W1."""
    real, fake = draws(seed, *shape), draws(seed + 1, *shape)
    real[:, 0] += shift
    return [real, fake]


def proved(seed: int, shift: float, count: int, dim: int, slope: float = 1.0, **how: float) -> Bound:
    """The bound of the critic slope · x₀, which is the best one for the shift, if the slope is 1."""
    chosen, judged = shifted(seed, shift, count, dim), shifted(seed + 10**6, shift, count, dim)
    return lower_bound(chosen, [slope * points[:, 0] for points in chosen], judged, slope, **how)


def test_the_best_critic_proves_nearly_all_of_a_shift_on_the_line() -> None:
    found = proved(0, 3.0, 2000, 1)
    assert 0.95 * 3 < found.low < 3
    assert found.low < found.difference < 3.1
    assert (found.samples, found.anchors) == (4000, 4000)


@pytest.mark.parametrize("slope", [1e-3, 0.2, 30.0])
def test_the_scale_of_the_critic_does_not_matter(slope: float) -> None:
    assert proved(0, 3.0, 300, 2, slope).low == pytest.approx(proved(0, 3.0, 300, 2).low, rel=1e-3)


def test_an_offset_of_the_scores_does_not_matter() -> None:
    """Those of a trained critic drift."""
    chosen, judged = shifted(0, 3.0, 300, 2), shifted(10**6, 3.0, 300, 2)
    lows = [lower_bound(chosen, [points[:, 0] + c for points in chosen], judged, 1.0).low for c in (0.0, 1000.0)]
    assert lows[1] == pytest.approx(lows[0], rel=1e-3)


def test_a_critic_that_knows_nothing_proves_next_to_nothing() -> None:
    chosen, judged = shifted(0, 1.0, 500, 2), shifted(10, 1.0, 500, 2)
    found = lower_bound(chosen, [draws(20, 500), draws(21, 500)], judged, 1.0)
    assert found.low < 0.2
    wrong = lower_bound(chosen, [-points[:, 0] for points in chosen], judged, 1.0)
    assert wrong.low == 0


@pytest.mark.parametrize(("shift", "dim", "confidence"), [(1.0, 1, 0.95), (0.0, 2, 0.95), (1.0, 1, 0.8)])
def test_the_limit_is_rarely_above_the_truth(shift: float, dim: int, confidence: float) -> None:
    """Of 200 draws, at most so many as 99.9 % of fair ones have."""
    wrong = sum(proved(1000 * seed, shift, 40, dim, confidence=confidence).low > shift for seed in range(200))
    assert wrong <= scipy.stats.binom.ppf(0.999, 200, 1 - confidence)


def test_the_limit_is_that_of_scipys_welch_test() -> None:
    chosen, judged = shifted(0, 1.0, 30, 1), [draws(5, 20, 1) + 3, draws(6, 90, 1)]
    scores = [points[:, 0] for points in chosen]
    found = lower_bound(chosen, scores, judged, 1.0, confidence=0.9)
    factor = best_factor(chosen, scores, torch.tensor(SCALES))
    values = torch.cat(scores)
    anchors = torch.cat(chosen)
    reach = (anchors - anchors.mean()).abs().max()
    values = (factor * (values - values.mean())).clamp(-reach, reach)
    real, fake = (extended(anchors, values, points).double() for points in judged)
    test = scipy.stats.ttest_ind(real, fake, equal_var=False, alternative="greater")
    assert found.low == pytest.approx(test.confidence_interval(0.9).low, rel=1e-5)
    assert welch_freedom([float(v.var() / len(v)) for v in (real, fake)], [20, 90]) == pytest.approx(test.df)


def test_the_gap_counts_where_the_critic_has_slope_one_by_construction() -> None:
    """In many dimensions anchors are far, and the extension proves little; the gap proves nearly all."""
    chosen, judged = shifted(0, 2.0, 500, 64), shifted(10**6, 2.0, 500, 64)

    def critic(points: Tensor) -> Tensor:
        return points[:, 0]

    extension, either = (proved_by(critic, chosen, judged, gap_counts=counts) for counts in (False, True))
    assert extension.low < 1 < 1.8 < either.low < 2
    assert (extension.anchors, either.anchors) == (1000, 0)
    halved = proved_by(lambda points: points[:, 0] / 100, chosen, judged, gap_counts=True)
    assert halved.anchors == 1000  # a flat critic's gap is little, but its extension is that of any scale
    surer = proved_by(lambda points: points[:, 0] / 100, chosen, judged, confidence=0.975)
    assert halved == surer  # two chances to be wrong share the one that is allowed


def test_equal_samples_are_no_reason_to_divide_by_zero() -> None:
    same = [torch.zeros(4, 2), torch.zeros(4, 2)]
    found = lower_bound(same, [torch.zeros(4)] * 2, same, 0.0)
    assert (found.low, found.difference, found.error) == (0, 0, 0)


@pytest.mark.parametrize("height", [0.0, 1.0], ids=["constant", "steps"])
def test_a_critic_without_slope_at_the_samples_gives_a_finite_bound(height: float) -> None:
    """As one that is saturated: its scores are divided by no slope at all, and would be infinite."""
    chosen, judged = shifted(0, 0.0, 300, 2), shifted(10, 0.0, 500, 2)
    scores = [1e9 * (1 + height * points[:, 1].sign()) for points in chosen]
    found = lower_bound(chosen, scores, judged, slope=0.0)
    assert math.isfinite(found.difference)
    assert found.low < 0.2


def test_the_extension_does_not_round_where_samples_are_near_each_other() -> None:
    """Tight clusters, far from each other in many dimensions. Distances by products of matrices are wrong there."""
    centres = 1000 * torch.nn.functional.normalize(draws(0, 20, 784), dim=1)
    anchors = centres.repeat(10, 1) + 0.001 * draws(1, 200, 784)
    points, scores = centres + 0.001 * draws(2, 20, 784), 0.01 * draws(3, 200)
    exact = (scores.double() - torch.linalg.vector_norm((points[:, None] - anchors).double(), dim=2)).amax(1)
    assert torch.allclose(extended(anchors, scores, points).double(), exact, atol=1e-3)


def test_single_samples_are_refused() -> None:
    points, scores = [torch.zeros(2, 1)] * 2, [torch.zeros(2)] * 2
    with pytest.raises(ValueError, match="at least two samples of each set"):
        lower_bound(points, scores, [torch.zeros(1, 1), torch.zeros(2, 1)], 1.0)
