"""Which iteration is kept as the best one, and when a run is over."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import metrics
from tests.training.helpers import CPU, quick
from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.runs.checkpoints import BEST, checkpoints, find_checkpoint, read_checkpoint
from wgan_cli.runs.listing import summaries
from wgan_cli.runs.loaded import load_run
from wgan_cli.training import loop
from wgan_cli.training.distributed import World
from wgan_cli.training.fidelity import Fidelity
from wgan_cli.training.loop import train_run
from wgan_cli.training.progress import SMOOTHED, Progress
from wgan_cli.training.reporting import Reporter
from wgan_cli.training.signals import Signals
from wgan_cli.training.trainer import Trainer


def after(values: list[float], patience: int | None = None) -> Progress:
    """Progress after evaluations at the iterations 10, 20, ..."""
    progress = Progress(patience)
    for number, value in enumerate(values, 1):
        progress.add(10 * number, value)
    return progress


def end(values: np.ndarray, patience: int) -> int:
    """The number of evaluations until a run is over."""
    progress = Progress(patience)
    for number, value in enumerate(values.tolist(), 1):
        progress.add(number, value)
        if progress.is_over:
            return number
    return len(values)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12))
def test_the_best_iteration_ends_the_three_with_the_smallest_mean(values: list[float]) -> None:
    best = after(values).best_step
    assert best is not None
    if len(values) < SMOOTHED:
        assert best == 10 * len(values)  # too few to tell chance from progress: the newest
    else:
        means = [np.mean(values[last - SMOOTHED : last]) for last in range(SMOOTHED, len(values) + 1)]
        assert means[best // 10 - SMOOTHED] == pytest.approx(min(means))


def test_one_lucky_figure_is_not_the_best() -> None:
    assert after([5, 5, 5, 1.5, 5, 5, 3, 3, 3]).best_step == 90


def test_nothing_is_best_before_an_evaluation() -> None:
    assert Progress().best_step is None
    assert not Progress(1).is_over


@pytest.mark.parametrize("fall", [1e-3, 1.0, 100.0])
def test_a_run_that_still_gets_better_is_never_over(fall: float) -> None:
    assert end(-fall * np.arange(200.0), patience=1) == 200


@pytest.mark.parametrize("patience", [1, 2, 5, 20])
def test_a_run_that_stays_as_it_is_ends_when_patience_does(patience: int) -> None:
    assert end(np.ones(200), patience) == SMOOTHED + patience
    falling = np.concatenate([np.arange(30.0, 0, -1), np.ones(200)])
    assert 30 + patience <= end(falling, patience) <= 30 + 2 * patience + SMOOTHED


def test_noise_alone_does_not_keep_a_run_going() -> None:
    """Without regard to noise, chance records would: the last of 200 values is a record about 6 times."""
    chance = np.random.default_rng(0)
    ends = [end(1 + 0.1 * chance.standard_normal(400), patience=5) for _ in range(200)]
    assert np.mean(ends) < 25
    assert max(ends) < 100


def test_a_run_without_patience_is_never_over() -> None:
    assert not after([1.0] * 1000).is_over


@given(st.lists(st.floats(0, 100), max_size=12), st.lists(st.floats(0, 100), max_size=12))
def test_a_resumed_progress_is_the_same(before: list[float], later: list[float]) -> None:
    straight, resumed = after(before + later, 3), Progress(3)
    resumed.load_state_dict(json.loads(json.dumps(after(before).state_dict())))
    for number, value in enumerate(later, len(before) + 1):
        resumed.add(10 * number, value)
    assert (resumed.best_step, resumed.is_over) == (straight.best_step, straight.is_over)


def test_images_are_judged_by_the_frechet_distance_and_others_by_w1() -> None:
    figures = {"samples/mean": 1.0, "truth/w1_pooled": 2.0, "truth/w1_pooled_floor": 3.0}
    assert Reporter.score(figures) == 2
    assert Reporter.score({**figures, "frechet/mnist-cnn_floor": 4.0, "frechet/mnist-cnn": 5.0}) == 5
    assert Reporter.score({"critic/gap": 1.0}) is None


JUDGED = ("output.sample_every=1", "output.checkpoint_every=1", "output.keep=1000")


def test_the_best_checkpoint_is_that_of_its_iteration(tmp_path: Path) -> None:
    run = train_run(quick("normal_gp", *JUDGED, iterations=12), CPU, out=tmp_path / "run", name="x")
    best = find_checkpoint(str(run), best=True)
    truth = {line["step"]: line["truth/w1"] for line in metrics(run) if "truth/w1" in line}
    assert best["step"] == after([truth[step] for step in range(1, 13)]).best_step // 10  # type: ignore[operator]
    numbered = run / "checkpoints" / f"{best['step']:09d}.pt"
    assert (run / "checkpoints" / BEST).read_bytes() == numbered.read_bytes()
    assert load_run(str(run), CPU, best=True).step == best["step"]
    assert load_run(str(run), CPU).step == 12


def test_the_best_checkpoint_is_never_ahead_of_the_newest(tmp_path: Path) -> None:
    """Else a run that is killed would go on before it, and might never find it again."""
    run = train_run(
        quick("normal_gp", "output.sample_every=2", "output.checkpoint_every=5", "output.keep=100", iterations=10),
        CPU,
        out=tmp_path / "run",
        name="x",
    )
    best = read_checkpoint(run / "checkpoints" / BEST)["step"]
    assert best in (2, 4, 6, 8, 10)
    assert {5, 10, best} <= {int(path.stem) for path in checkpoints(run)}


def patient(*more: str) -> RunConfig:
    """A run whose generator does not learn, so that patience soon ends it."""
    still = ("optimizer.generator.lr=1e-12", "training.patience=3", "output.sample_every=2")
    return quick("normal_gp", *still, *more, iterations=100)


def test_patience_ends_a_run_which_is_then_finished(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run = train_run(patient(), CPU, out=tmp_path / "run", name="x")
    assert metrics(run)[-1]["step"] == 2 * (SMOOTHED + 3)
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    assert summaries(run)[0][0].state == "finished"
    assert find_checkpoint(str(run))["step"] == 2 * (SMOOTHED + 3)
    assert "training.patience ran out" in caplog.text
    before = (run / "metrics.jsonl").read_bytes()
    train_run(patient(), CPU, out=run, name="x", resume=True)  # does nothing
    assert (run / "metrics.jsonl").read_bytes() == before
    train_run(patient("training.patience=5"), CPU, out=run, name="x", resume=True)  # more patience
    assert metrics(run)[-1]["step"] == 2 * (SMOOTHED + 5)


@pytest.mark.parametrize("stopped_at", [3, 7, 8, 11])
def test_patience_and_the_best_are_exact_under_resume(
    stopped_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = patient()
    whole = train_run(config, CPU, out=tmp_path / "whole", name="x")
    iterations: list[int] = []
    iterate = Trainer.iterate

    def counted(trainer: Trainer) -> object:
        iterations.append(trainer.step)
        if len(iterations) == stopped_at:
            raise WganError("stopped by the test")
        return iterate(trainer)

    monkeypatch.setattr(Trainer, "iterate", counted)
    with pytest.raises(WganError, match="stopped by the test"):
        train_run(config, CPU, out=tmp_path / "cut", name="x")
    monkeypatch.undo()
    cut = train_run(config, CPU, out=tmp_path / "cut", name="x", resume=True)
    assert metrics(cut)[-1]["step"] == metrics(whole)[-1]["step"]
    for name in (BEST, f"{metrics(whole)[-1]['step']:09d}.pt"):
        assert (cut / "checkpoints" / name).read_bytes() == (whole / "checkpoints" / name).read_bytes()


def test_a_best_checkpoint_is_asked_of_a_run_that_has_one(tmp_path: Path) -> None:
    run = train_run(quick(iterations=2), CPU, out=tmp_path / "run", name="x")
    (run / "checkpoints" / BEST).unlink()
    with pytest.raises(BadInputError, match=r"--best: .* has no checkpoints/best.pt"):
        load_run(str(run), CPU, best=True)
    with pytest.raises(BadInputError, match=r"--best: .* is one checkpoint"):
        load_run(str(run / "checkpoints" / "000000002.pt"), CPU, best=True)


def test_all_ranks_end_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rank alone measures samples; the others ask it."""
    asked: list[str] = []

    def answer(_: World, action: Callable[[], Any]) -> Any:
        asked.append("grid" if isinstance(action, partial) else "figures")
        return ({}, asked.count("grid") == 2) if asked[-1] == "grid" else {}

    trainer = Trainer(patient(), CPU)
    monkeypatch.setattr(World, "on_first_rank", answer)
    with Signals() as signals:
        loop.train(trainer, None, signals, Progress(3))
    assert trainer.step == 4


@pytest.mark.parametrize("asked", ["figures", "grid"])
def test_all_ranks_end_where_the_first_finds_that_training_diverged(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """They would wait for it for half an hour, and then say that it was lost."""

    def answer(_: World, action: Callable[[], Any]) -> Any:
        is_grid = isinstance(action, partial)
        if is_grid == (asked == "grid"):
            raise WganError("diverged: the bound", ExitCode.DIVERGED)
        return ({}, False) if is_grid else {}

    monkeypatch.setattr(World, "on_first_rank", answer)
    with Signals() as signals, pytest.raises(WganError, match="diverged: the bound"):
        loop.train(Trainer(patient(), CPU), None, signals, Progress(3))


def test_the_frechet_distance_tells_real_images_from_noise(made_up_mnist: Path) -> None:
    trainer = Trainer(quick("normal_gp", f"data={{kind: mnist, root: {made_up_mnist}}}"), CPU)
    fidelity = Fidelity(trainer)
    noise = fidelity.figures()
    real = trainer.dataset.real(96, torch.Generator(), heldout=False)
    real = real[torch.arange(Fidelity.SAMPLES) % 96]
    parts = iter(real.split(256))

    class Copies(torch.nn.Module):
        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            return next(parts)[: len(latents)]

    trainer.networks.average, trainer.networks.generator = None, Copies()
    copies = fidelity.figures()
    name = "frechet/mnist-cnn"
    assert copies[f"{name}_floor"] == noise[f"{name}_floor"]
    assert copies[name] == pytest.approx(copies[f"{name}_floor"], abs=0.1 * noise[name])
    assert noise[name] > 5 * copies[name]


def test_images_without_labels_have_no_frechet_distance() -> None:
    assert Fidelity(Trainer(quick(), CPU)).figures() == {}


def test_a_resumed_run_whose_new_patience_is_over_is_finished(tmp_path: Path) -> None:
    longer = patient("training.patience=50")
    run = train_run(
        longer.model_copy(update={"training": longer.training.model_copy(update={"iterations": 20})}),
        CPU,
        out=tmp_path / "run",
        name="x",
    )
    assert find_checkpoint(str(run))["step"] == 20
    train_run(patient(), CPU, out=run, name="x", resume=True)  # its ten grids brought nothing
    assert find_checkpoint(str(run))["step"] == 20
    assert summaries(run)[0][0].state == "finished"
