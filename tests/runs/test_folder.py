import errno
import io
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import metrics
from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.pixels import Pixels
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.runs import folder
from wgan_cli.runs.checkpoints import checkpoints, find_checkpoint
from wgan_cli.runs.folder import RunFolder, claimed

CPU = torch.device("cpu")
GREY = np.full((4, 5, 3), 128, np.uint8)


def shown(run: Path) -> Any:
    """What TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    return events


def scalars(run: Path) -> list[tuple[int, float]]:
    """The gaps that TensorBoard shows, by step."""
    events = shown(run)
    return [(event.step, event.value) for event in events.Scalars("critic/gap")]


# --- claiming a folder -------------------------------------------------------------------------------------


def test_numbered_folders_count_up_from_the_highest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("a-0001", "a-0002"):
        with claimed(None, "a") as path:
            assert path == Path("runs") / expected
    (tmp_path / "runs" / "a-0041").mkdir()
    (tmp_path / "runs" / "ab-0099").mkdir()
    with claimed(None, "a") as path:
        assert path.name == "a-0042"


def test_two_processes_never_take_the_same_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    taken: list[Path] = []
    start = threading.Barrier(16)

    def take() -> None:
        start.wait()
        with claimed(None, "a") as path:
            taken.append(path)

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 16


def test_a_folder_in_use_is_refused_at_once(tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "run", "x"),
        pytest.raises(BadInputError, match="another process is training in it"),
        claimed(tmp_path / "run", "x"),
    ):
        pytest.fail("taken twice")
    with claimed(tmp_path / "run", "x"):  # free again, though the lock's file is still there
        pass


def test_a_run_is_not_taken_without_resume(run: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))
    with pytest.raises(BadInputError, match="holds a run; --resume goes on with it"), claimed(run, "x"):
        pytest.fail("taken")
    assert sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*")) == before
    with claimed(run, "x", resume=True) as path:
        assert path == run


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_something_else_is_never_taken(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInputError, match="is not empty"), claimed(tmp_path, "x", resume=resume):
        pytest.fail("taken")
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("place", ["file/run", "/proc/run"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(BadInputError, match="can't be written"), claimed(tmp_path / place, "x"):
        pytest.fail("taken")


def test_a_failure_before_the_run_begins_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(WganError, match="no data"), claimed(tmp_path / "new" / "run", "x"):
        raise WganError("no data")
    assert os.listdir(tmp_path) == []


def test_leftovers_of_a_kill_in_the_first_moments_are_no_obstacle(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "samples").mkdir(parents=True)
    (run / "checkpoints").mkdir()
    for leftover in (".lock", ".config.yaml.77.tmp", ".config.yaml.77-0123abcd.tmp"):
        (run / leftover).touch()
    with claimed(run, "x", resume=True) as path:
        assert not list(path.glob(".*.tmp"))


def test_a_killed_write_of_the_best_checkpoint_is_cleared_away(run: Path) -> None:
    (run / "checkpoints" / ".best.pt.77-0123abcd.tmp").write_bytes(b"half of it")
    with claimed(run, "x", resume=True):
        assert not list(run.rglob("*.tmp"))


# --- what a run writes -------------------------------------------------------------------------------------


def test_a_new_run_holds_its_config_and_environment(run: Path, config: RunConfig) -> None:
    assert load_config(str(run / "config.yaml")) == config
    environment = json.loads((run / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    assert not list(run.rglob("*.tmp"))


def test_figures_go_to_the_file_and_to_tensorboard(empty: Path, config: RunConfig) -> None:
    with RunFolder(empty, config, 0, CPU) as opened:
        for step in (1, 2, 3):
            opened.scalars({"critic/gap": step / 2}, step)
        opened.picture(lambda: GREY, 3)
    with RunFolder(empty, config, 1, CPU) as again:  # goes on after step 1: later figures are removed
        again.scalars({"critic/gap": 7.0}, 2)
    assert metrics(empty) == [{"step": 1, "critic/gap": 0.5}, {"step": 2, "critic/gap": 7.0}]
    assert scalars(empty) == [(1, 0.5), (2, 7.0)]
    assert (empty / "samples" / "000000003.png").is_file()


def test_a_run_that_begins_anew_has_its_first_grid_once(empty: Path, config: RunConfig) -> None:
    for grey in (10, 20):  # killed before its first checkpoint, and begun again
        with RunFolder(empty, config, 0, CPU) as opened:
            opened.picture(torch.full((4, 5, 3), grey, dtype=torch.uint8).numpy, 0)
    with RunFolder(empty, config, 3, CPU) as again:  # goes on after step 3, and keeps it
        again.scalars({"critic/gap": 1.0}, 4)
    (image,) = shown(empty).Images("samples")
    assert image.step == 0
    assert Image.open(io.BytesIO(image.encoded_image_string)).getpixel((0, 0)) == (20, 20, 20)


def test_a_run_does_not_wait_for_a_grid_but_its_checkpoint_does(empty: Path, config: RunConfig) -> None:
    go_on = threading.Event()

    def draw() -> Pixels:
        assert go_on.wait(60)
        return GREY

    with RunFolder(empty, config, 0, CPU) as opened:
        opened.picture(draw, 1)
        opened.checkpoint({}, 1)
        opened.scalars({"critic/gap": 1.0}, 2)
        assert not list(empty.rglob("*.png")) + checkpoints(empty)
        go_on.set()
    assert (empty / "samples" / "000000001.png").is_file()
    assert len(checkpoints(empty)) == 1


@pytest.mark.parametrize("then", ["picture", "scalars", "exit"])
def test_a_grid_that_can_not_be_written_is_raised_by_the_next_call(empty: Path, config: RunConfig, then: str) -> None:
    def full() -> Pixels:
        raise OSError(28, "No space left on device")

    calls: dict[str, Callable[[RunFolder], object]] = {
        "picture": lambda opened: opened.picture(lambda: GREY, 2),
        "scalars": lambda opened: [opened.scalars({}, 2) or time.sleep(0.01) for _ in range(1000)],  # until it is drawn
        "exit": lambda _: None,
    }

    def fill_disk() -> None:
        with RunFolder(empty, config, 0, CPU) as opened:
            opened.picture(full, 1)
            calls[then](opened)

    with pytest.raises(OSError, match="No space left"):
        fill_disk()
    assert json.loads((empty / "status.json").read_text())["state"] == "stopped"


def test_a_grid_that_can_not_be_drawn_leaves_a_run_that_is_closed(empty: Path, config: RunConfig) -> None:
    def faulty() -> Pixels:
        raise ValueError("a fault of the drawing")

    def run() -> None:
        with RunFolder(empty, config, 0, CPU) as opened:
            opened.scalars({"critic/gap": 1.0}, 1)
            opened.picture(faulty, 1)

    with pytest.raises(ValueError, match="a fault of the drawing"):
        run()
    assert json.loads((empty / "status.json").read_text())["state"] == "stopped"
    assert scalars(empty) == [(1, 1.0)]


@pytest.mark.parametrize("back", [0, 10_000])
def test_no_clock_brings_back_figures_that_were_removed(
    empty: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch, back: int
) -> None:
    now = time.time()
    for start in (0, 1, 2):
        monkeypatch.setattr(time, "time", lambda start=start: now - start * back)  # each start earlier than the last
        with RunFolder(empty, config, start, CPU) as opened:
            for step in (start + 1, start + 2, start + 3):
                opened.scalars({"critic/gap": 10.0 * start + step}, step)
    monkeypatch.undo()
    assert scalars(empty) == [(1, 1), (2, 12), (3, 23), (4, 24), (5, 25)]
    assert [line["step"] for line in metrics(empty)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("then", ["scalars", "checkpoint", "exit"])
def test_a_failed_checkpoint_is_raised_by_the_next_call(
    empty: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with RunFolder(empty, config, 0, CPU) as opened:
        opened.checkpoint({"weights": torch.ones(3)}, 1)
    monkeypatch.setattr("wgan_cli.runs.checkpoints.write_atomically", full)
    with pytest.raises(OSError, match="No space left"), RunFolder(empty, config, 1, CPU) as opened:  # noqa: PT012
        opened.checkpoint({"weights": torch.ones(3)}, 2)
        if then == "scalars":
            for step in range(2, 2000):
                time.sleep(0.001)
                opened.scalars({"critic/gap": 1.0}, step)
        elif then == "checkpoint":
            opened.checkpoint({}, 3)
    assert find_checkpoint(str(empty))["step"] == 1
    assert json.loads((empty / "status.json").read_text())["state"] == "stopped"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, "finished"),
        (WganError("SIGTERM", ExitCode.STOPPED), "stopped"),
        (WganError("nan", ExitCode.DIVERGED), "diverged"),
        (RuntimeError("a bug"), "stopped"),
    ],
)
def test_the_end_of_a_run_is_its_state(empty: Path, config: RunConfig, error: Exception | None, state: str) -> None:
    def status() -> dict:
        return json.loads((empty / "status.json").read_text())

    try:
        with RunFolder(empty, config, 4, CPU) as opened:
            assert (status()["state"], status()["step"], status()["pid"]) == ("running", 4, os.getpid())
            opened.scalars({"critic/gap": 1.0}, 7)
            if error is not None:
                raise error
    except (WganError, RuntimeError) as raised:
        assert raised is error  # noqa: PT017
    assert (status()["state"], status()["step"]) == (state, 7)


def test_each_tracker_is_closed_though_one_fails(
    empty: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow would show the run as running for ever."""
    ends: list[str] = []

    def full(state: str) -> None:
        ends.append(f"{state}, but the disk is full")
        raise OSError(errno.ENOSPC, "No space left on device")

    trackers = [SimpleNamespace(close=full), SimpleNamespace(close=ends.append)]
    monkeypatch.setattr(folder, "open_trackers", lambda *_: trackers)
    with pytest.raises(OSError, match="No space left"), RunFolder(empty, config, 0, CPU):
        pass
    assert ends == ["finished, but the disk is full", "stopped"]
    assert json.loads((empty / "status.json").read_text())["state"] == "stopped"


def test_figures_are_on_the_disk_before_their_checkpoint(
    empty: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    order: list[str] = []
    fsync, flush = os.fsync, SummaryWriter.flush

    def note_file(descriptor: int) -> None:
        is_metrics = os.path.sameopenfile(descriptor, figures.fileno())
        order.append("metrics" if is_metrics else "file")
        fsync(descriptor)

    def note_events(writer: SummaryWriter) -> None:
        order.append("events")
        flush(writer)

    opened = RunFolder(empty, config, 0, CPU)
    with (empty / "metrics.jsonl").open() as figures, opened:
        monkeypatch.setattr(os, "fsync", note_file)
        monkeypatch.setattr(SummaryWriter, "flush", note_events)
        opened.scalars({"critic/gap": 1.0}, 1)
        order.clear()
        opened.checkpoint({}, 1)
    monkeypatch.undo()
    assert order[:4] == ["metrics", "events", "file", "file"]  # the last two: the checkpoint, and its folder


def test_an_incomplete_line_is_dropped(empty: Path, config: RunConfig) -> None:
    (empty / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"ste')
    with RunFolder(empty, config, 5, CPU):
        pass
    assert (empty / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize("garbage", [b"garbage", b"\xff\xfe", b"[1]", b'{"step": "x"}'])
def test_a_damaged_line_costs_no_other(
    empty: Path, config: RunConfig, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (empty / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + garbage + b'\n{"step": 2}\n{"step": 6}\n')
    with RunFolder(empty, config, 5, CPU):
        pass
    assert (empty / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    assert "1 damaged lines" in caplog.text


def test_a_damaged_newest_checkpoint_never_costs_the_good_one(run: Path) -> None:
    newest, good = checkpoints(run)
    newest.write_bytes(newest.read_bytes()[:999])
    with RunFolder(run, load_config("normal_gp", ["output.keep=1"]), 1, CPU) as opened:  # goes on from the good one
        assert checkpoints(run) == [good]
        opened.checkpoint({}, 1)
    assert find_checkpoint(str(run))["step"] == 1
    assert newest.with_suffix(".pt.damaged").is_file()


def test_a_closed_folder_takes_no_more_figures(empty: Path, config: RunConfig) -> None:
    with RunFolder(empty, config, 0, CPU) as folder:
        folder.scalars({"critic/gap": 1.0}, 1)
    with pytest.raises(ValueError, match="closed file"):
        folder.scalars({"critic/gap": 2.0}, 2)
    assert [line["step"] for line in metrics(empty)] == [1]
