import io
import logging
import math
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.helpers import metrics
from tests.training.helpers import CPU, quick
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.runs.checkpoints import checkpoints, read_newest, sealed
from wgan_cli.runs.readers import read_status
from wgan_cli.training.loop import train_run
from wgan_cli.training.trainer import Trainer

SPEEDS = {"speed/iterations_per_second", "speed/images_per_second"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `quick()`. Do not write to it."""
    return train_run(quick(), CPU, out=tmp_path_factory.mktemp("finished") / "run", name="x")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run of `quick()`, of this test alone."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def weights(path: Path) -> dict[str, Tensor]:
    """The weights in the newest checkpoint."""
    state = read_newest(path)
    assert state is not None
    return {f"{net}.{name}": value for net in ("generator", "critic") for name, value in state[net].items()}


def test_a_run_writes_what_the_design_promises(finished: Path) -> None:
    assert sorted(p.name for p in finished.iterdir() if not p.name.startswith((".", "events"))) == [
        "checkpoints",
        "config.yaml",
        "environment.json",
        "log.txt",
        "metrics.jsonl",
        "samples",
        "status.json",
    ]
    assert [line["step"] for line in metrics(finished)] == [2, 3, 4, 6]  # the grid of iteration 3 has a bound
    assert [p.stem for p in sorted((finished / "samples").iterdir())] == ["000000000", "000000003", "000000006"]
    assert [p.stem for p in checkpoints(finished)] == ["000000006", "000000004"]
    names = {"critic/gap", "critic/real", "critic/fake", "critic/penalty", "critic/loss", "critic/lipschitz"}
    names |= {"critic/w1", "critic/w1_low", "generator/loss", "samples/mean", "samples/std", "truth/w1"}
    assert names | SPEEDS <= metrics(finished)[-1].keys()


def test_each_logged_iteration_is_a_line_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Off a terminal, as here, it goes to stderr too; a run that goes on adds to its log."""
    caplog.set_level(logging.INFO, "wgan")
    run = train_run(quick(), CPU, out=tmp_path / "run", name="x")
    logged = r"iteration {} of 6, gap \S+, W1 estimate \S+, w1_low \S+, truth/w1 \S+, \S+ it/s, \d\d:\d\d left"
    grid = r"iteration {} of 6, w1_low \S+, truth/w1 \S+, \d\d:\d\d left"
    told = [record.getMessage() for record in caplog.records if " of 6" in record.getMessage()]
    kept = (run / "log.txt").read_text().splitlines()
    assert "from iteration 0: cpu" in kept[0]
    for step, message, line in zip((2, 3, 4, 6), told[:4], kept[1:], strict=True):
        wanted = (grid if step == 3 else logged).replace("{}", str(step))
        assert re.fullmatch(rf"\d\d:\d\d:\d\d {wanted}", message), message
        assert re.fullmatch(rf"\d{{4}}(-\d\d){{2}} \d\d(:\d\d){{2}} {wanted}", line), line
    train_run(quick(iterations=8), CPU, out=run, name="x", resume=True)
    more = (run / "log.txt").read_text().splitlines()
    assert more[: len(kept)] == kept
    assert "from iteration 6: cpu" in more[len(kept)]
    assert "iteration 8 of 8" in more[-1]
    assert f"{run}: goes on from iteration 6 of 8, cpu, " in caplog.text


@pytest.mark.parametrize("is_watched", [False, True])
def test_a_watched_run_has_lines_and_no_bar_on_a_terminal(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_watched: bool
) -> None:
    caplog.set_level(logging.INFO, "wgan")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    watch = (lambda *_: None) if is_watched else None
    train_run(quick(iterations=7), CPU, out=run, name="x", resume=True, watch=watch)
    assert ("7/7" in terminal.getvalue()) != is_watched
    assert ("iteration 7 of 7" in caplog.text) == is_watched


@pytest.mark.parametrize("name", ["normal_gp", "normal512_clip", "mnist"])
def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path, name: str, made_up_mnist: Path) -> None:
    images = (f"data={{kind: mnist, root: {made_up_mnist}}}",) if name == "mnist" else ()
    config = quick("normal_gp" if images else name, *images, "output.log_every=1", iterations=9)
    whole = train_run(config, CPU, out=tmp_path / "whole", name="x")
    part = Path(shutil.copytree(whole, tmp_path / "part"))
    # Take the end away, as a crash after the checkpoint of iteration 8 would.
    checkpoints(part)[0].unlink()
    resumed = train_run(config, CPU, out=part, name="x", resume=True)
    for key, value in weights(whole).items():
        assert torch.equal(weights(resumed)[key], value), key
    for one, other in zip(metrics(whole), metrics(resumed), strict=True):
        assert {k: v for k, v in one.items() if k not in SPEEDS} == {k: v for k, v in other.items() if k not in SPEEDS}


def test_logging_more_often_changes_nothing_in_training(tmp_path: Path) -> None:
    configs = (quick("normal_gp", f"output.log_every={every}", f"output.sample_every={every}") for every in (1, 6))
    often, seldom = (train_run(config, CPU, out=tmp_path / str(i), name="x") for i, config in enumerate(configs))
    assert all(torch.equal(weights(often)[key], value) for key, value in weights(seldom).items())


def test_a_signal_stops_a_run_after_its_iteration_and_saves_it(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterate = Trainer.iterate

    def interrupted(trainer: Trainer):
        outcome = iterate(trainer)
        if trainer.step == 5:  # nothing is written at this one
            os.kill(os.getpid(), signal.SIGINT)
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "iterate", interrupted)
        with pytest.raises(
            WganError, match="SIGINT: stopped at iteration 5 of 6, and saved there; go on with"
        ) as caught:
            train_run(quick(), CPU, out=tmp_path / "run", name="x")
    assert caught.value.exit_code == ExitCode.STOPPED
    assert str(caught.value).endswith("--resume --device cpu`")
    assert [path.stem for path in checkpoints(tmp_path / "run")] == ["000000005", "000000004"]
    resumed = train_run(quick(), CPU, out=tmp_path / "run", name="x", resume=True)
    assert all(torch.equal(weights(resumed)[key], value) for key, value in weights(finished).items())


def test_a_ctrl_c_after_the_last_iteration_is_for_the_caller(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is finished, but a notebook's cell may have more to do."""
    monkeypatch.setattr("wgan_cli.training.loop.summary", lambda *_: [os.kill(os.getpid(), signal.SIGINT)])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            train_run(quick(iterations=7), CPU, out=run, name="x", resume=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert read_status(run)["state"] == "finished"


def test_resume_starts_a_run_that_is_not_there_and_leaves_one_that_is_done(tmp_path: Path) -> None:
    first = train_run(quick(), CPU, out=tmp_path / "run", name="x", resume=True)
    before = (first / "metrics.jsonl").read_bytes()
    assert train_run(quick(), CPU, out=tmp_path / "run", name="x", resume=True) == first
    assert (first / "metrics.jsonl").read_bytes() == before


def test_a_run_may_go_on_for_longer(run: Path) -> None:
    train_run(quick(iterations=10), CPU, out=run, name="x", resume=True)
    assert [line["step"] for line in metrics(run)] == [2, 3, 4, 6, 8, 9, 10]


def test_resume_refuses_another_config_by_its_keys(run: Path) -> None:
    before = contents(run)
    with pytest.raises(BadInputError, match=r"another config, in lipschitz\.weight, seed;.*config\.yaml goes on"):
        train_run(quick("normal_gp", "seed=1", "lipschitz.weight=1"), CPU, out=run, name="x", resume=True)
    assert contents(run) == before


def test_a_checkpoint_of_other_shapes_is_refused(run: Path) -> None:
    for checkpoint in checkpoints(run):
        state = torch.load(checkpoint, weights_only=True)
        state["critic"] = {name: value[:1] for name, value in state["critic"].items()}
        checkpoint.write_bytes(sealed(state))
    with pytest.raises(BadInputError, match="does not fit its own config"):
        train_run(quick(iterations=10), CPU, out=run, name="x", resume=True)


def test_a_finished_run_is_not_touched_and_not_shortened(run: Path) -> None:
    before = contents(run)
    train_run(quick(), CPU, out=run, name="x", resume=True)
    with pytest.raises(BadInputError, match=r"at iteration 6 already, beyond training\.iterations: 4"):
        train_run(quick(iterations=4), CPU, out=run, name="x", resume=True)
    assert contents(run) == before


def test_divergence_stops_with_its_own_code_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    blown_up = quick(
        "normal_gp",
        "lipschitz={kind: none}",
        "optimizer.critic={kind: rmsprop, lr: 1e30}",
        "output.checkpoint_every=1",
    )
    with pytest.raises(WganError, match=r"diverged: .* at iteration \d+") as caught:
        train_run(blown_up, CPU, out=tmp_path / "run", name="x")
    assert caught.value.exit_code == ExitCode.DIVERGED
    saved = checkpoints(tmp_path / "run")
    kept = f"The checkpoint of iteration {int(saved[0].stem)} is kept" if saved else "No checkpoint was saved before"
    assert str(caught.value).endswith(kept)
    for path in saved:
        state = torch.load(path, weights_only=True)
        assert all(value.isfinite().all() for net in ("generator", "critic") for value in state[net].values())
    for line in metrics(tmp_path / "run"):
        assert all(math.isfinite(value) for value in line.values())


@pytest.mark.parametrize("saved", [False, True])
def test_divergence_tells_whether_a_checkpoint_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    config = quick("normal_gp", f"output.checkpoint_every={1 if saved else 1000}", "output.sample_every=1000")

    def check_finite(trainer: Trainer) -> None:
        if trainer.step == 2:
            raise trainer.diverged("a weight is not finite")

    monkeypatch.setattr(Trainer, "check_finite", check_finite)
    with pytest.raises(WganError, match="diverged: a weight is not finite at iteration 2") as caught:
        train_run(config, CPU, out=tmp_path / "run", name="x")
    assert ("The checkpoint of iteration 1 is kept" in str(caught.value)) is saved
    assert ("No checkpoint was saved before" in str(caught.value)) is not saved


@pytest.mark.parametrize("overrides", [("output.log_every=1000", "output.sample_every=1"), ("output.log_every=1",)])
@pytest.mark.parametrize("data", ["normal", "mnist"])
def test_weights_that_blow_up_are_divergence_on_every_path(
    tmp_path: Path, overrides: tuple[str, ...], data: str, made_up_mnist: Path
) -> None:
    images = (f"data={{kind: mnist, root: {made_up_mnist}}}",) if data == "mnist" else ()
    rates = ("optimizer.generator.lr=1e38", "optimizer.critic.lr=1e38")
    with pytest.raises(WganError, match="diverged") as caught:
        train_run(quick("normal_gp", *images, *rates, *overrides), CPU, out=tmp_path / "run", name="x")
    assert caught.value.exit_code == ExitCode.DIVERGED


@pytest.mark.parametrize("error", [RuntimeError("can't allocate memory: 4 TB"), torch.OutOfMemoryError("CUDA is full")])
def test_too_little_memory_for_the_networks_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Trainer, "__init__", fail)
    with pytest.raises(WganError, match=r"^cpu: out of memory; lower training\.batch_size or the networks' width$"):
        train_run(quick(), CPU, out=tmp_path / "run", name="x")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA is full"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_in_training_is_explained(
    error: RuntimeError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Trainer) -> None:
        raise error

    monkeypatch.setattr(Trainer, "iterate", fail)
    with pytest.raises(WganError, match="out of memory"):
        train_run(quick(), CPU, out=tmp_path / "run", name="x")


def test_a_fault_of_the_program_is_not_explained_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Trainer, "__init__", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train_run(quick(), CPU, out=tmp_path / "run", name="x")


@pytest.mark.parametrize("deterministic", [True, False])
def test_deterministic_kernels_are_used_where_the_config_says(
    deterministic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    iterate = Trainer.iterate

    def spy(trainer: Trainer):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return iterate(trainer)

    monkeypatch.setattr(Trainer, "iterate", spy)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    config = quick("normal_gp", f"training.deterministic={str(deterministic).lower()}")
    train_run(config, CPU, out=tmp_path / "run", name="x")
    assert seen == [deterministic] * 6
    assert not torch.are_deterministic_algorithms_enabled()
