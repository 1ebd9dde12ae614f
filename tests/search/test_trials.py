import io
import logging
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

optuna = pytest.importorskip("optuna")

from optuna.trial import TrialState  # noqa: E402

from tests.helpers import metrics  # noqa: E402
from tests.search.helpers import tiny_space  # noqa: E402
from wgan_cli.errors import BadInputError, ExitCode, WganError  # noqa: E402
from wgan_cli.runs.checkpoints import checkpoints  # noqa: E402
from wgan_cli.runs.loaded import load_run  # noqa: E402
from wgan_cli.runs.readers import read_status  # noqa: E402
from wgan_cli.search import trials as trials_room  # noqa: E402
from wgan_cli.search.study import Search  # noqa: E402
from wgan_cli.search.trials import try_one  # noqa: E402

CPU = torch.device("cpu")


def begun(tmp_path: Path, *changes: tuple[str, str]) -> Search:
    space = tiny_space(tmp_path, *changes)
    Search.begin(tmp_path / "s", space, resume=True)
    return Search(tmp_path / "s", space, 3)


def tried(search: Search, must_stop: Any = lambda: False) -> Any:
    """The trial that was tried, as the journal has it."""
    with ExitStack() as held:
        claim = search.claim(held)
        assert claim is not None
        try_one(search, claim, CPU, must_stop)
        return claim.trial.study.get_trials()[claim.trial.number]


def test_a_trial_is_a_run_and_its_value_the_mean_of_the_last_three(tmp_path: Path) -> None:
    trial = tried(begun(tmp_path))
    run = tmp_path / "s" / "trial-0000"
    logged = {line["step"]: line["truth/w1"] for line in metrics(run)}
    assert list(logged) == list(range(5, 41, 5))
    assert trial.intermediate_values == logged
    assert trial.value == pytest.approx(sum(logged[step] for step in (30, 35, 40)) / 3, rel=1e-15)
    assert read_status(run)["state"] == "finished"
    loaded = load_run(str(run), CPU)
    assert loaded.config.optimizer.generator.lr == trial.params["optimizer.generator.lr"]
    assert loaded.step == 40


def test_a_trial_is_told_in_lines_on_a_terminal_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Trials that are trained at once would draw their bars over each other."""
    caplog.set_level(logging.INFO, "wgan")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    tried(begun(tmp_path, ("iterations: 40", "iterations: 5")))
    assert "|" not in terminal.getvalue()  # of a bar; a library may warn there
    begins, ends = caplog.messages
    assert re.fullmatch(r"trial-0000: tries .+=.+; its lines are in \S+trial-0000/log.txt", begins), begins
    assert ends.startswith("trial-0000: truth/w1 ")


def test_a_trial_that_is_stopped_goes_on_and_ends_as_if_never_stopped(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    undisturbed = tried(begun(tmp_path / "other"))
    calls: list[int] = []

    def third_time() -> bool:
        calls.append(0)
        return len(calls) == 3

    with pytest.raises(WganError) as stopped:
        tried(begun(tmp_path), third_time)
    assert stopped.value.exit_code == ExitCode.STOPPED
    run = tmp_path / "s" / "trial-0000"
    assert (read_status(run)["state"], int(checkpoints(run)[0].stem)) == ("stopped", 15)
    trial = tried(begun(tmp_path))
    assert "from iteration 15" in (run / "log.txt").read_text()
    assert trial.number == 0
    assert (trial.value, trial.intermediate_values) == (undisturbed.value, undisturbed.intermediate_values)
    other = tmp_path / "other" / "s" / "trial-0000"
    assert checkpoints(run)[0].read_bytes() == checkpoints(other)[0].read_bytes()


def test_what_is_worse_than_the_median_is_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wgan_cli.search.study._pruner", lambda: optuna.pruners.ThresholdPruner(upper=0.0))
    trial = tried(begun(tmp_path))
    run = tmp_path / "s" / "trial-0000"
    assert trial.state == TrialState.PRUNED
    assert [line["step"] for line in metrics(run)] == [5]
    assert read_status(run)["state"] == "stopped"
    unpruned = ("objective: truth/w1", "objective: truth/w1\nprune: false")
    (tmp_path / "other").mkdir()
    assert tried(begun(tmp_path / "other", unpruned)).state == TrialState.COMPLETE


def test_the_pruner_follows_the_direction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six trials with a slope of their own, the last is the smallest: bad where the largest is sought."""
    for direction, expected in (("minimise", False), ("maximise", True)):
        space = tiny_space(tmp_path, ("objective: truth/w1", f"objective: truth/w1\ndirection: {direction}"))
        Search.begin(tmp_path / direction, space, resume=True)
        search = Search(tmp_path / direction, space, 6)
        for number in range(6):
            with ExitStack() as held:
                claim = search.claim(held)
                assert claim is not None
                claim.trial.report(10.0 - number, 5)
                assert claim.trial.should_prune() == (expected and number == 5)
                search.tell(claim.trial, 10.0 - number, TrialState.COMPLETE)


def test_an_objective_that_is_not_logged_is_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_room, "EVALUATED", 50)
    search = begun(tmp_path, ("objective: truth/w1", "objective: truth/gaussian_w2"))
    trial = tried(search)
    run = str(tmp_path / "s" / "trial-0000")
    assert trial.value == trials_room.evaluate(load_run(run, CPU), 50, 0)["truth/gaussian_w2"]
    assert trial.intermediate_values == {}


def test_an_objective_that_no_run_has_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trials_room, "EVALUATED", 50)
    monkeypatch.setattr(trials_room, "_advised", set())
    message = r"objective: truth/wl is no figure .*did you mean truth/w[12]\? They have .*/trial-0000 is kept"
    with pytest.raises(WganError, match=message) as caught:
        tried(begun(tmp_path, ("objective: truth/w1", "objective: truth/wl")))
    assert caught.value.exit_code == ExitCode.RUN_FAILED  # not 2: something was written
    early = [line for line in caplog.messages if line.startswith("objective: runs log truth/w1, not truth/wl, which")]
    assert len(early) == 1


def test_a_trial_that_diverges_is_pruned_and_one_too_large_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = begun(tmp_path)
    memory = WganError("cpu: out of memory")
    memory.__cause__ = MemoryError()
    for error, state in (
        (WganError("not finite", ExitCode.DIVERGED), TrialState.PRUNED),
        (memory, TrialState.FAIL),
    ):
        monkeypatch.setattr(trials_room, "train_run", _raising(error))
        assert tried(search).state == state
    monkeypatch.setattr(trials_room, "train_run", _raising(WganError("the disk is full")))
    with pytest.raises(WganError, match="the disk is full"):
        tried(search)
    monkeypatch.undo()
    assert tried(search).number == 2  # it was not lost


def test_a_run_that_has_begun_and_is_refused_can_go_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the GPU that it began on."""
    search = begun(tmp_path)
    with pytest.raises(WganError):
        tried(search, lambda: True)
    monkeypatch.setattr(trials_room, "train_run", _raising(BadInputError("the run was trained on cuda")))
    for _ in range(2):
        with pytest.raises(BadInputError, match="trained on cuda"):
            tried(search)
    assert len(search.ended) == 0


def _raising(error: Exception) -> Any:
    def raises(*_: Any, **__: Any) -> None:
        raise error

    return raises


def test_values_that_do_not_go_together_are_a_failed_trial(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    batch = ("batch_size: 16", "batch_size: {choices: [16, 1]}")
    norm = ("hidden: {choices: [[8], [4, 4]]}", "norm: {choices: [none, batch]}")
    search = begun(tmp_path, batch, norm, ("iterations: 40", "iterations: 5"))
    states = set()
    for number in range(40):
        with ExitStack() as held:
            search.trials = number + 1
            claim = search.claim(held)
            assert claim is not None
            bad = claim.values[("training", "batch_size")] == 1 and claim.values[("generator", "norm")] == "batch"
            if bad:
                try_one(search, claim, CPU, lambda: False)
                states = {claim.trial.study.get_trials()[number].state}
                break
            search.tell(claim.trial, 1.0, TrialState.COMPLETE)
    assert states == {TrialState.FAIL}
    assert not claim.run.exists()
