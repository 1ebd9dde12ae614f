import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

pytest.importorskip("optuna")

from optuna.trial import TrialState

from tests.conftest import Wgan
from tests.helpers import metrics, wait_for
from tests.search.helpers import tiny, tiny_space
from wgan_cli.config.load import load_config
from wgan_cli.runs.checkpoints import checkpoints
from wgan_cli.runs.readers import read_status
from wgan_cli.search.study import Search
from wgan_cli.search.workers import Work, search_space

ITERATIONS = 200
MEAN = "the mean of its last 3 values"
LONG = ("iterations: 40", f"iterations: {ITERATIONS}"), ("objective: truth/w1", "objective: truth/w1\nprune: false")
"""Long enough to be killed in the middle."""


def started(space: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "wgan_cli", "search", str(space), "--out", str(out), "--device", "cpu", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_whole(out: Path, count: int) -> None:
    """Every trial is there once, has each of its logged iterations once, and a value of its own figures."""
    trials = Search(out, tiny_space(out.parent, *LONG), count).ended
    assert [trial.number for trial in trials] == list(range(count))
    assert sorted(path.name for path in out.glob("trial-*")) == [f"trial-{number:04d}" for number in range(count)]
    for trial in trials:
        run = out / f"trial-{trial.number:04d}"
        logged = {line["step"]: line["truth/w1"] for line in metrics(run)}
        assert [line["step"] for line in metrics(run)] == list(range(5, ITERATIONS + 1, 5))
        assert trial.intermediate_values == logged
        assert trial.value == pytest.approx(sum(list(logged.values())[-3:]) / 3, rel=1e-15)
        assert read_status(run)["state"] == "finished"


def is_in_the_middle(run: Path) -> bool:
    return bool(checkpoints(run)) and int(checkpoints(run)[0].stem) >= 10


def test_a_search_prints_the_best_config_and_draws_importances(wgan: Wgan, tmp_path: Path) -> None:
    space = tiny(tmp_path, ("objective: truth/w1", "objective: truth/w1\nprune: false"))
    done = wgan("search", space, "--out", "s", "--trials", 5, "--device", "cpu")
    assert done.code == 0, done.err
    values = {}
    for number in range(5):
        logged = [line["truth/w1"] for line in metrics(Path("s") / f"trial-{number:04d}")]
        values[number] = sum(logged[-3:]) / 3
    best = min(values, key=lambda number: values[number])
    first, _, text = done.out.partition("\n")
    assert first == f"# s/trial-{best:04d}: truth/w1 {values[best]:.6g}, {MEAN}; the best of 5 trials"
    assert yaml.safe_load(text) == load_config(f"s/trial-{best:04d}/config.yaml").to_dict()
    assert np.asarray(Image.open("s/importance.png").convert("L")).std() > 1
    assert re.search(rf"wgan: trial-0004: truth/w1 [\d.]+, {MEAN} \(5 of 5\)", done.err)
    assert "iteration" not in done.err

    again = wgan("search", space, "--out", "s", "--trials", 5, "--device", "cpu")
    assert (again.code, again.out, again.err.count("\n")) == (2, "", 1)
    resumed = wgan("search", space, "--out", "s", "--trials", 5, "--device", "cpu", "--resume")
    assert (resumed.code, resumed.out) == (0, done.out)


def test_a_picture_that_cannot_be_written_costs_no_config(wgan: Wgan, tmp_path: Path) -> None:
    space = tiny_space(tmp_path)
    Search.begin(Path("s"), space, resume=False)
    search = Search(Path("s"), space, 4)
    for number in range(4):
        with ExitStack() as held:
            claim = search.claim(held)
            assert claim is not None
            search.tell(claim.trial, float(number), TrialState.COMPLETE)
    Path("s/importance.png").mkdir()
    done = wgan("search", tmp_path / "space.yaml", "--out", "s", "--trials", 4, "--resume")
    assert done.code == 1
    assert done.err.endswith("wgan: s/importance.png: can't be written (Is a directory)\n")
    assert done.out.startswith("# s/trial-0000: truth/w1 0; the best of 4 trials\nseed: ")


def test_a_mistake_leaves_nothing(wgan: Wgan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = tiny(tmp_path, ("high: 3", "high: 0"))
    done = wgan("search", space, "--out", "s")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"{space}:6: space.training.n_critic.low: must be less than high" in done.err
    assert wgan("search", tiny(tmp_path), "--out", "s", "--device", "nothing").code == 2
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = wgan("search", tiny(tmp_path), "--out", "s")
    assert (done.code, done.err) == (2, "wgan: wgan search needs optuna; pip install 'wgan[search]'\n")
    assert os.listdir() == []


def test_a_search_of_refused_trials_ends_and_says_so(wgan: Wgan, tmp_path: Path) -> None:
    space = tiny(tmp_path, ("training: {", "training: {engine: {choices: [graph]}, "))
    for more in ((), ("--resume",)):
        done = wgan("search", space, "--out", "s", "--trials", 2, "--device", "cpu", *more)
        assert (done.code, done.out) == (1, "")
        assert "wgan: s: no trial is complete: all were pruned, diverged or failed; change" in done.err
        assert ("trial-0001: failed: training.engine: graph needs one GPU" in done.err) == (not more)


def test_what_all_trials_lack_ends_the_search_before_it_begins(
    wgan: Wgan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wgan_cli.trackers.find_spec", lambda _: None)
    done = wgan("search", tiny(tmp_path, ("output: {", "output: {report: [mlflow], ")), "--out", "s")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "output.report: mlflow is not installed" in done.err
    assert os.listdir() == []


@pytest.mark.parametrize(("jobs", "threads"), [(1, [6, 6]), (2, [3, 6]), (7, [1, 6])])
def test_processes_share_the_threads_and_the_last_has_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int, threads: list[int]
) -> None:
    used: list[int] = []
    ended = SimpleNamespace(start=lambda: None, is_alive=lambda: False, pid=None)
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: SimpleNamespace(Process=lambda **_: ended))
    monkeypatch.setattr(Search, "claim", lambda *_: used.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        search_space(tiny_space(tmp_path), tmp_path / "s", 1, jobs=jobs, device="cpu", resume=False)
        assert (used, torch.get_num_threads()) == (threads, 6)
    finally:
        torch.set_num_threads(before)


@pytest.mark.timeout(600)
def test_a_killed_search_goes_on_and_loses_no_trial(tmp_path: Path) -> None:
    space, out = tiny(tmp_path, *LONG), tmp_path / "s"
    process = started(space, out)
    try:
        wait_for(lambda: process.poll() is not None or is_in_the_middle(out / "trial-0001"), 200)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    search = search_space(tiny_space(tmp_path, *LONG), out, 3, jobs=1, device="cpu", resume=True)
    assert search.unfinished == 0
    check_whole(out, 3)
    (step,) = re.findall(r"from iteration ([1-9]\d*)", (out / "trial-0001" / "log.txt").read_text())
    assert int(step) >= 10


def pid_beside(first: int, out: Path) -> int | None:
    """The process beside the first one that is in the middle of a trial now."""
    for run in sorted(out.glob("trial-*")):
        status = read_status(run)
        if status.get("state") == "running" and status["pid"] != first and is_in_the_middle(run):
            return int(status["pid"])
    return None


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_two_processes_share_a_search_and_one_takes_over_what_the_other_leaves(tmp_path: Path) -> None:
    space, out = tiny(tmp_path, *LONG), tmp_path / "s"
    process = started(space, out, "--jobs", "2", "--trials", "6")
    try:
        wait_for(lambda: process.poll() is not None or pid_beside(process.pid, out) is not None, 200)
        other = pid_beside(process.pid, out)
        assert other is not None
        os.kill(other, signal.SIGKILL)
        printed, said = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert printed.startswith(f"# {out}/trial-000")
    assert "lost its process; going on with it" in said
    check_whole(out, 6)


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_signal_stops_all_processes_and_the_same_line_goes_on(tmp_path: Path) -> None:
    space, out = tiny(tmp_path, *LONG), tmp_path / "s"
    process = started(space, out, "--jobs", "2", "--trials", "2", "--resume")
    try:
        wait_for(lambda: process.poll() is not None or is_in_the_middle(out / "trial-0001"), 200)
        process.terminate()
        _, said = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 75, said
    assert said.endswith("wgan: stopped, and saved; the same line with --resume goes on\n")
    search = search_space(tiny_space(tmp_path, *LONG), out, 2, jobs=1, device="cpu", resume=True)
    assert search.unfinished == 0
    check_whole(out, 2)


def _at_work(space: Path, out: Path) -> None:
    Work(tiny_space(space, *LONG), out, KILLED, "cpu", threads=1).do(lambda: False)


KILLS, KILLED = 100, 30
"""Of processes, and the trials that they train."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forked processes begin at once")
def test_a_hundred_kills_lose_no_trial(tmp_path: Path) -> None:
    """Two processes train; one of them is killed each time, at a random instant, and replaced."""
    torch.set_num_threads(1)
    fork, rng, out = multiprocessing.get_context("fork"), random.Random(0), tmp_path / "s"
    Search.begin(out, tiny_space(tmp_path, *LONG), resume=False)

    def begun() -> multiprocessing.process.BaseProcess:
        process = fork.Process(target=_at_work, args=(tmp_path, out))
        process.start()
        return process

    workers, kills = [begun(), begun()], 0
    while kills < KILLS:
        time.sleep(rng.uniform(0, 2))
        chosen = rng.randrange(2)
        if workers[chosen].is_alive():
            workers[chosen].kill()
            kills += 1
        workers[chosen].join()
        workers[chosen] = begun()
    for worker in workers:
        worker.join()
    _at_work(tmp_path, out)
    check_whole(out, KILLED)
    assert all(json.loads(line) for line in (out / "journal.log").read_text().splitlines())
