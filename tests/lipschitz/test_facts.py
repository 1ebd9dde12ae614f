"""What each strategy says of itself, and the ranges of its fields."""

import pytest
from pydantic import ValidationError

from wgan_cli.lipschitz import Clip, GradientPenalty, LipschitzSpec, Unbounded


@pytest.mark.parametrize(
    ("spec", "bounds_slope", "per_sample"),
    [(Unbounded(), False, False), (Clip(), True, False), (GradientPenalty(), True, True)],
)
def test_each_strategy_says_what_it_does(spec: LipschitzSpec, bounds_slope: bool, per_sample: bool) -> None:
    assert (spec.bounds_slope, spec.per_sample, spec.keeps_state) == (bounds_slope, per_sample, False)


def test_only_the_two_sided_penalty_advises_on_a_negative_gap() -> None:
    advice = GradientPenalty(sided="two").advice_on_negative_gap()
    assert advice is not None
    assert "lipschitz.sided: one" in advice
    for spec in (GradientPenalty(sided="one"), Clip(), Unbounded()):
        assert spec.advice_on_negative_gap() is None


@pytest.mark.parametrize(("spec", "field"), [(Clip, "bound"), (GradientPenalty, "weight"), (GradientPenalty, "target")])
def test_bounds_weights_and_targets_are_positive(spec: type[LipschitzSpec], field: str) -> None:
    spec.model_validate({field: 1e-9})
    for value in (0.0, -1.0):
        with pytest.raises(ValidationError, match="greater than 0"):
            spec.model_validate({field: value})


def test_the_defaults_are_the_papers() -> None:
    assert GradientPenalty() == GradientPenalty(weight=10.0, target=1.0, sided="two")  # Gulrajani et al. (2017)
    assert Clip() == Clip(bound=0.01)  # Arjovsky et al. (2017)
