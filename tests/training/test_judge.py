"""The bounds that are given while a run trains."""

from pathlib import Path

import pytest
import torch

from tests.training.helpers import CPU, quick
from wgan_cli.errors import ExitCode, WganError
from wgan_cli.lipschitz.bound import Bound
from wgan_cli.training import judge
from wgan_cli.training.reporting import Reporter
from wgan_cli.training.trainer import Trainer


def test_a_bound_is_proved_whatever_the_slope_of_the_critic() -> None:
    """A critic that is 1,000 times as steep proves the same; its gap / slope says nothing of that."""
    trainer = Trainer(quick("normal_gp", "training.batch_size=256", "data.mean=9.0", "training.n_critic=20"), CPU)
    outcome = trainer.iterate()
    reporter = Reporter(trainer)
    truth = reporter.figures(outcome)["truth/w1"]
    lows = []
    for factor in (1.0, 1000.0):
        with torch.no_grad():
            list(trainer.networks.critic.parameters())[-2].mul_(factor)
        lows += [reporter.figures(outcome)["critic/w1_low"], reporter.truth()["critic/w1_low"]]
    assert all(0.8 * truth < low < truth for low in lows)
    assert lows[2:] == pytest.approx(lows[:2], rel=1e-3)


@pytest.mark.parametrize(("features", "count"), [(1, 512), (512, 256), (5000, 26), (400_000, 2)])
def test_large_samples_have_fewer_judges_and_both_sides_as_many(
    features: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(quick("normal_gp", f"data.features={features}"), CPU)
    judges: list[int] = []

    def remember(_: object, chosen: object, judged: list[torch.Tensor], **how: bool) -> Bound:
        judges.extend(map(len, judged))
        return Bound(0.0, 0.0, 0.0, 0, 0)

    monkeypatch.setattr(judge, "proved", remember)
    Reporter(trainer).figures(trainer.iterate())
    assert judges == [count] * 2


def test_a_bound_that_is_not_finite_is_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(quick(), CPU)
    outcome = trainer.iterate()
    monkeypatch.setattr(judge, "proved", lambda *_, **__: Bound(0.0, float("nan"), 0.0, 0, 0))
    with pytest.raises(WganError, match="critic/w1_low") as caught:
        Reporter(trainer).figures(outcome)
    assert caught.value.exit_code == ExitCode.DIVERGED


def test_with_conditions_no_bound_is_given(made_up_mnist: Path) -> None:
    """It would be of the samples of all classes together, which the critic does not compare."""
    labels = (f"data={{kind: mnist, root: {made_up_mnist}}}", "condition={kind: labels}")
    trainer = Trainer(quick("normal_gp", *labels), CPU)
    reporter = Reporter(trainer)
    assert "critic/w1_low" not in {**reporter.figures(trainer.iterate()), **reporter.truth()}


def test_no_sample_that_judges_is_an_anchor(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(quick(), CPU)
    outcome, reporter = trainer.iterate(), Reporter(trainer)
    sets: list[tuple[list[float], list[float]]] = []

    def remember(_: object, chosen: list[torch.Tensor], judged: list[torch.Tensor], **how: bool) -> Bound:
        sets.append((torch.cat(chosen).flatten().tolist(), torch.cat(judged).flatten().tolist()))
        return Bound(0.0, 0.0, 0.0, 0, 0)

    monkeypatch.setattr(judge, "proved", remember)
    reporter.figures(outcome)
    reporter.truth()
    assert [(len(chosen), len(judged)) for chosen, judged in sets] == [(32, 1024), (4096, 4096)]
    assert all(not set(chosen) & set(judged) for chosen, judged in sets)
