import pytest
import torch
from scipy import integrate, stats

from tests.helpers import next_batch
from wgan_cli.data.normal import Normal

CPU = torch.device("cpu")


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("features", [1, 512])
def test_draws_follow_the_distribution(features: int) -> None:
    batches = Normal(mean=3.0, std=2.0, features=features).load(CPU).batches(8192 // features, stream())
    draws = torch.cat([next_batch(batches).flatten() for _ in range(10)])
    assert stats.kstest(draws.numpy(), stats.norm(3, 2).cdf).pvalue > 1e-3


def test_the_density_integrates_to_one_and_has_the_right_moments() -> None:
    def moment(power: int) -> float:
        return integrate.quad(lambda x: x**power * float(spec.density(torch.tensor(x))), -40, 40)[0]

    spec = Normal(mean=3.0, std=2.0)
    assert [moment(0), moment(1), moment(2)] == pytest.approx([1, 3, 9 + 4], rel=1e-5)


def test_the_targets_are_the_figures_of_a_perfect_generator() -> None:
    dataset = Normal(mean=3.0, std=2.0).load(CPU)
    draws = torch.randn(200_000, 1, generator=stream())
    figures = dataset.figures(lambda: draws * 2 + 3)
    for name, target in Normal(mean=3.0, std=2.0).targets.items():
        assert figures[name].item() == pytest.approx(target, abs=0.02)
    assert figures["truth/w1"].item() < 0.02
    assert dataset.figures(lambda: draws * 2 + 4)["truth/w1"].item() == pytest.approx(1, abs=0.02)  # W1 of a shift


def test_exact_distances_are_those_of_normals() -> None:
    dataset = Normal(mean=3.0, std=2.0).load(CPU)
    draws = torch.randn(100_000, 1, generator=stream())
    same = {name: value.item() for name, value in dataset.exact_distances(draws * 2 + 3).items()}
    assert all(value < 0.05 for value in same.values())
    wider = {name: value.item() for name, value in dataset.exact_distances(draws * 4 + 4).items()}
    assert wider["truth/w2"] == pytest.approx((1 + 2**2) ** 0.5, rel=0.01)  # W2² = shift² + (difference of stds)²
    assert wider["truth/gaussian_w2"] == pytest.approx((1 + 2**2) ** 0.5, rel=0.01)
    assert wider["truth/w1"] < wider["truth/w2"]


def test_each_batch_is_fresh() -> None:
    batches = Normal().load(CPU).batches(16, stream())
    assert not torch.equal(next_batch(batches), next_batch(batches))
