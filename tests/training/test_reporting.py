import copy
import io
import re
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from tests.helpers import metrics
from tests.training.helpers import CPU, differing, quick
from wgan_cli.errors import ExitCode, WganError
from wgan_cli.training import reporting
from wgan_cli.training.judge import Judge
from wgan_cli.training.loop import train_run
from wgan_cli.training.reporting import BAR, Reporter, Stopwatch, TimeLeft, in_short
from wgan_cli.training.trainer import Trainer


@pytest.mark.parametrize("name", ["normal_gp", "images"])
def test_figures_agree_with_each_other(name: str, made_up_mnist: Path) -> None:
    images = (f"data={{kind: mnist, root: {made_up_mnist}}}",) if name == "images" else ()
    trainer = Trainer(quick("normal_gp", *images), CPU)
    reporter = Reporter(trainer)
    for _ in range(4):
        figures = reporter.figures(trainer.iterate())
        assert figures["critic/gap"] == pytest.approx(figures["critic/real"] - figures["critic/fake"], abs=1e-5)
        assert figures["critic/loss"] == pytest.approx(figures["critic/penalty"] - figures["critic/gap"], abs=1e-5)
        assert figures["critic/w1"] == pytest.approx(figures["critic/gap"] / figures["critic/lipschitz"])
        ratio = figures["speed/images_per_second"] / figures["speed/iterations_per_second"]
        assert ratio == pytest.approx(2 * 16)
        assert ("critic/gap_heldout" in figures) == (name == "images")
        assert ("truth/w1" in figures) == (name == "normal_gp")


def test_reports_of_images_compare_with_held_out_ones(tmp_path: Path, made_up_mnist: Path) -> None:
    images = f"data={{kind: mnist, root: {made_up_mnist}}}"
    logged = metrics(train_run(quick("normal_gp", images), CPU, out=tmp_path / "run", name="x"))
    assert [line["step"] for line in logged] == [2, 3, 4, 6]  # the grid of iteration 3 has a line of its own
    assert all("critic/gap_heldout" in line for line in logged if line["step"] != 3)
    frechet = {"frechet/mnist-cnn", "frechet/mnist-cnn_floor"}
    assert logged[1].keys() == {"step", "truth/w1", "truth/w1_floor", "critic/w1_low", *frechet}
    assert logged[3].keys() > {"truth/w1", "critic/gap"}


@pytest.mark.parametrize(("name", "features", "shown"), [("normal512_gp", 512, 64), ("normal_gp", 1 << 18, 2)])
def test_large_samples_are_shown_by_few(name: str, features: int, shown: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,500 samples of a million values are 10 GB, of which a picture shows nothing more."""
    monkeypatch.setattr(Reporter, "KEPT", 1 << 15)
    trainer = Trainer(quick(name, f"data.features={features}"), CPU)
    counts: list[int] = []

    def remember(count: int, *_: object, **__: object) -> torch.Tensor:
        counts.append(count)
        return torch.zeros(count, features)

    monkeypatch.setattr(type(trainer.dataset), "whole", lambda _, *given, **how: remember(*given, **how))
    Reporter(trainer)
    assert counts == [shown]


def test_large_samples_are_held_out_by_few(made_up_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reporter, "KEPT", 10 * 28 * 28)
    trainer = Trainer(quick("normal_gp", f"data={{kind: mnist, root: {made_up_mnist}}}"), CPU)
    counts: list[int] = []
    give = trainer.dataset.heldout_pairs
    monkeypatch.setattr(type(trainer.dataset), "heldout_pairs", lambda _, count: counts.append(count) or give(count))
    assert "critic/gap_heldout" in Reporter(trainer).figures(trainer.iterate())
    assert counts == [10]


def test_samples_are_generated_once_an_iteration() -> None:
    trainer = Trainer(quick(), CPU)
    reporter = Reporter(trainer)
    drawn: list[int] = []
    trainer.networks.sampler.register_forward_hook(lambda _, latents, __: drawn.append(len(latents[0])))
    for iteration in (1, 2):
        outcome = trainer.iterate()
        reporter.figures(outcome)
        reporter.drawing()()
        reporter.truth()
        judge = Judge(trainer)
        assert sum(drawn) == iteration * (Reporter.VALUES + judge.few + 2 * judge.many)
    assert reporter.samples() is reporter.samples()


def test_few_samples_are_generated_for_figures_of_images(made_up_mnist: Path) -> None:
    trainer = Trainer(quick("normal_gp", f"data={{kind: mnist, root: {made_up_mnist}}}"), CPU)
    reporter = Reporter(trainer)
    outcome = trainer.iterate()
    drawn: list[int] = []
    trainer.networks.sampler.register_forward_hook(lambda _, latents, __: drawn.append(len(latents[0])))
    reporter.figures(outcome)
    assert sum(drawn) == Judge(trainer).few == 167  # a quarter of 2^19 / 784


def test_the_grid_shows_the_samples_of_seeds(made_up_mnist: Path) -> None:
    trainer = Trainer(quick("normal_gp", f"data={{kind: mnist, root: {made_up_mnist}}}"), CPU)
    trainer.iterate()
    reporter = Reporter(trainer)
    latents = trainer.config.latent.from_seeds([0, 5])
    torch.testing.assert_close(reporter.samples()[[0, 5]], trainer.networks.sampler.eval()(latents))
    assert reporter.drawing()().dtype.name == "uint8"


@pytest.mark.parametrize("name", ["normal_gp", "normal512_clip"])
def test_reports_never_change_training(name: str) -> None:
    trainer = Trainer(quick(name), CPU)
    outcome = trainer.iterate()
    before = copy.deepcopy(trainer.state_dict())
    reporter = Reporter(trainer)
    reporter.figures(outcome)
    reporter.drawing()()
    reporter.truth()
    assert differing(trainer.state_dict(), before) == []
    assert trainer.networks.critic.training
    assert trainer.networks.generator.training


def test_a_figure_that_is_not_finite_is_divergence() -> None:
    trainer = Trainer(quick(), CPU)
    outcome = trainer.iterate()
    outcome.figures["critic/loss"] = torch.tensor(float("nan"))
    with pytest.raises(WganError, match=r"diverged: critic/loss is nan at iteration 1") as caught:
        Reporter(trainer).figures(outcome)
    assert caught.value.exit_code == ExitCode.DIVERGED


def test_a_sample_that_is_not_finite_is_divergence() -> None:
    trainer = Trainer(quick(), CPU)
    with torch.no_grad():
        next(trainer.networks.sampler.parameters()).fill_(float("nan"))
    with pytest.raises(WganError, match="diverged: a generated sample is not finite at iteration 0") as caught:
        Reporter(trainer).samples()
    assert caught.value.exit_code == ExitCode.DIVERGED


@pytest.mark.parametrize(("sided", "warnings"), [("two", 1), ("one", 0)])
def test_a_gap_that_stays_negative_is_explained_once(
    sided: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = Trainer(quick("normal_gp", f"lipschitz.sided={sided}"), CPU)
    outcome = trainer.iterate()
    reporter = Reporter(trainer)

    def report(*gaps: float) -> None:
        for gap in gaps:
            reporter.figures(outcome._replace(figures={**outcome.figures, "critic/gap": torch.tensor(gap)}))

    report(*[-1.0] * (reporter.PATIENCE - 1), 1.0)
    assert not caplog.records  # it may pass
    report(*[-1.0] * 3 * reporter.PATIENCE)
    assert len(caplog.records) == warnings
    assert all("lipschitz.sided: one" in record.message for record in caplog.records)


def test_a_critic_without_slope_gives_no_estimate() -> None:
    trainer = Trainer(quick(), CPU)
    outcome = trainer.iterate()
    with torch.no_grad():
        for parameter in trainer.networks.critic.parameters():
            parameter.zero_()
    reported = Reporter(trainer).figures(outcome)
    assert reported["critic/lipschitz"] == 0
    assert "critic/w1" not in reported


def test_the_stopwatch_counts_no_reporting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(reporting.time, "perf_counter", lambda: now)
    watch = Stopwatch(10, CPU)
    now = 2.0
    with watch.paused():
        now = 100.0
        assert watch.speeds(14, quick()) == {
            "speed/iterations_per_second": 2,  # four iterations in two seconds
            "speed/images_per_second": 2 * 2 * 16,
        }
    now = 101.0
    with watch.paused():
        assert watch.speeds(20, quick())["speed/iterations_per_second"] == 6


def test_the_stopwatch_waits_for_a_gpu_before_it_reads_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterations that take a second each, and are enqueued in no time: the wait is part of the measured time, and work
    that the report has enqueued is not."""
    gpu, now, queued = torch.device("cuda"), 0.0, 0.0

    def synchronize(device: torch.device) -> None:
        nonlocal now, queued
        assert device == gpu
        now, queued = now + queued, 0.0

    monkeypatch.setattr(reporting.time, "perf_counter", lambda: now)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    watch = Stopwatch(0, gpu)
    for step in (4, 8):
        queued += 4.0
        with watch.paused():
            assert watch.speeds(step, quick())["speed/iterations_per_second"] == 1
            queued += 50.0


def test_the_progress_bar_shows_the_gap_and_what_it_says() -> None:
    figures = {"critic/gap": 1.23456, "critic/w1_low": 0.5, "critic/loss": 3.0, "truth/w1": 2.469}
    assert in_short(figures) == {"gap": "1.23", "bound": "0.5", "truth": "2.47"}
    assert in_short({}) == {}


@pytest.mark.parametrize("value", [0.5, 1234.5, -12345.6])
def test_the_progress_bar_fits_80_columns(value: float) -> None:
    figures = in_short({"critic/gap": value, "critic/w1_low": abs(value), "truth/w1": abs(value)})
    written = io.StringIO()
    with tqdm(total=1_000_000, file=written, bar_format=BAR, ncols=80) as bar:
        bar.start_t -= 3600.0 * 99  # hours are left, which take more columns than minutes
        bar.update(500_000)
        bar.set_postfix(figures)
    shown = written.getvalue().split("\r")[-1].rstrip()
    assert len(shown) <= 80
    wanted = ", ".join(f"{name}={text}" for name, text in figures.items())
    assert re.fullmatch(rf"500000/1000000 .+\| \d\d:\d\d:\d\d left, {re.escape(wanted)}", shown), shown


def test_the_time_left_forgets_what_came_before_the_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of compiling, then ten iterations a second, and a grid that takes five seconds."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    left = TimeLeft(20, 120)
    now[0] += 61.0
    assert left.at(30) == pytest.approx(6.1 * 90)
    now[0] += 1.0
    assert left.at(40) == pytest.approx(0.1 * 80)
    now[0] += 6.0
    assert left.at(50) == pytest.approx(7 / 20 * 70)
    assert left.at(120) == 0
