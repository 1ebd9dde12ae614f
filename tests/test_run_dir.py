import json
import os
import pickle
import threading
import time
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wgan_cli import run_dir
from wgan_cli.checkpoints import checkpoint_config, checkpoints, find_checkpoint, read_checkpoint
from wgan_cli.config import RunConfig, load_config
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.files import write_atomically
from wgan_cli.run_dir import RunDir, occupied

CPU = torch.device("cpu")


@pytest.fixture
def config() -> RunConfig:
    return load_config("normal_gp")


@pytest.fixture
def run(tmp_path: Path, config: RunConfig) -> Path:
    """A run's folder with the checkpoints of steps 1 and 2."""
    path = tmp_path / "run"
    with occupied(path, "x") as folder, RunDir(folder, config, 0, CPU) as opened:
        for step in (1, 2):
            opened.checkpoint({"weights": torch.full((3,), float(step))}, step)
    return path


def test_numbered_folders_count_up_from_the_highest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("a-0001", "a-0002"):
        with occupied(None, "a") as path:
            assert path == Path("runs") / expected
    (tmp_path / "runs" / "a-0041").mkdir()
    (tmp_path / "runs" / "ab-0099").mkdir()
    with occupied(None, "a") as path:
        assert path.name == "a-0042"


def test_two_processes_never_take_the_same_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    taken: list[Path] = []
    start = threading.Barrier(16)

    def take() -> None:
        start.wait()
        with occupied(None, "a") as path:
            taken.append(path)

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 16


def test_a_folder_in_use_is_refused_at_once(tmp_path: Path) -> None:
    with (
        occupied(tmp_path / "run", "x"),
        pytest.raises(BadInputError, match="another process is training in it"),
        occupied(tmp_path / "run", "x"),
    ):
        pytest.fail("taken twice")
    with occupied(tmp_path / "run", "x"):  # free again, though the lock's file is still there
        pass


def test_a_run_is_not_taken_without_resume(run: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))
    with pytest.raises(BadInputError, match="holds a run; --resume goes on with it"), occupied(run, "x"):
        pytest.fail("taken")
    assert sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*")) == before
    with occupied(run, "x", resume=True) as path:
        assert path == run


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_something_else_is_never_taken(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BadInputError, match="is not empty"), occupied(tmp_path, "x", resume=resume):
        pytest.fail("taken")
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("place", ["file/run", "/proc/run"])
def test_a_place_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(BadInputError, match="can't be written"), occupied(tmp_path / place, "x"):
        pytest.fail("taken")


def test_what_a_new_run_holds(run: Path, config: RunConfig) -> None:
    assert load_config(str(run / "config.yaml")) == config
    environment = json.loads((run / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    assert not list(run.rglob("*.tmp"))


def test_the_newest_few_checkpoints_are_kept(tmp_path: Path, config: RunConfig) -> None:
    with RunDir(_made(tmp_path / "run"), config, 0, CPU) as opened:
        for step in (5, 10, 1000, 20000):
            opened.checkpoint({}, step)
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["000020000.pt", "000001000.pt"]


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_checkpoint_is_self_describing(run: Path, config: RunConfig) -> None:
    state = find_checkpoint(str(run))
    assert state["step"] == 2
    assert state["weights"].tolist() == [2, 2, 2]
    assert checkpoint_config(state, "x") == config
    assert find_checkpoint(str(run / "checkpoints" / "000000001.pt"))["step"] == 1


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_damaged_checkpoint_is_named_and_stepped_over(run: Path, keep: int, caplog: pytest.LogCaptureFixture) -> None:
    newest = checkpoints(run)[0]
    newest.write_bytes(newest.read_bytes()[:keep])
    assert find_checkpoint(str(run))["step"] == 1
    assert newest.name in caplog.text
    with pytest.raises(BadInputError, match="damaged"):
        read_checkpoint(newest)


def test_without_a_whole_checkpoint_the_run_is_refused(run: Path) -> None:
    for path in checkpoints(run):
        path.write_bytes(b"")
    with pytest.raises(WganError, match="none of its checkpoints can be read"):
        find_checkpoint(str(run))


class Villain:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("pwned",))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_pickled_code_is_refused_and_never_run(tmp_path: Path, writer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    if writer == "torch":
        torch.save({"format": 1, "weights": Villain()}, path)
    else:
        path.write_bytes(pickle.dumps({"format": 1, "weights": Villain()}))
    with pytest.raises(BadInputError, match=r"may carry code|not a file of torch"):
        find_checkpoint(str(path))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "not a checkpoint of wgan"),
        ({"model": 1}, "not a checkpoint of wgan"),
        ({"format": 99}, "format 99"),
    ],
)
def test_other_files_of_torch_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(BadInputError, match=message):
        find_checkpoint(str(tmp_path / "x.pt"))


def test_missing_checkpoints_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such run folder or file"):
        find_checkpoint(str(tmp_path / "nothing"))
    with pytest.raises(BadInputError, match="holds no checkpoint"):
        find_checkpoint(str(tmp_path))


def test_figures_go_to_the_file_and_to_tensorboard(tmp_path: Path, config: RunConfig) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunDir(_made(tmp_path / "run"), config, 0, CPU) as opened:
        for step in (1, 2, 3):
            opened.scalars({"critic/gap": step / 2}, step)
        opened.picture(torch.zeros(4, 5, 3, dtype=torch.uint8).numpy(), 3)
    with RunDir(tmp_path / "run", config, 1, CPU) as again:  # goes on after step 1: what came later is cut off
        again.scalars({"critic/gap": 7.0}, 2)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "critic/gap": 0.5}, {"step": 2, "critic/gap": 7.0}]
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("critic/gap")] == [(1, 0.5), (2, 7.0)]
    assert (tmp_path / "run" / "samples" / "000000003.png").is_file()


@pytest.mark.parametrize("back", [0, 10_000])
def test_no_clock_brings_back_figures_that_were_cut_off(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch, back: int
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path, now = _made(tmp_path / "run"), time.time()
    for start in (0, 1, 2):
        monkeypatch.setattr(time, "time", lambda start=start: now - start * back)  # each start earlier than the last
        with RunDir(path, config, start, CPU) as opened:
            for step in (start + 1, start + 2, start + 3):
                opened.scalars({"critic/gap": 10.0 * start + step}, step)
    monkeypatch.undo()
    events = EventAccumulator(str(path))
    events.Reload()
    told = [(event.step, event.value) for event in events.Scalars("critic/gap")]
    assert told == [(1, 1), (2, 12), (3, 23), (4, 24), (5, 25)]
    assert [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3, 4, 5]


def test_a_checkpoint_is_of_the_moment_it_was_asked_for(tmp_path: Path, config: RunConfig) -> None:
    weights, nested = torch.zeros(1000), [torch.zeros(3), {"n": 1}]
    with RunDir(_made(tmp_path / "run"), config, 0, CPU) as opened:
        for step in range(1, 6):
            opened.checkpoint({"weights": weights, "nested": nested}, step)
            weights += 1  # training goes on while the file is written
            nested[0] += 1
    for path in checkpoints(tmp_path / "run"):
        state = read_checkpoint(path)
        assert state["weights"].unique().tolist() == [state["step"] - 1]
        assert state["nested"][0].tolist() == [state["step"] - 1] * 3
        assert state["nested"][1] == {"n": 1}


def test_a_failed_checkpoint_is_told_by_the_next_call(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = _made(tmp_path / "run")
    with RunDir(path, config, 0, CPU) as opened:
        opened.checkpoint({"weights": torch.ones(3)}, 1)
    for then in ("scalars", "checkpoint", "exit"):
        monkeypatch.setattr("wgan_cli.checkpoints.write_atomically", full)
        with pytest.raises(OSError, match="No space left"), RunDir(path, config, 1, CPU) as opened:  # noqa: PT012
            opened.checkpoint({"weights": torch.ones(3)}, 2)
            if then == "scalars":
                for step in range(2, 2000):
                    time.sleep(0.001)
                    opened.scalars({"critic/gap": 1.0}, step)
            elif then == "checkpoint":
                opened.checkpoint({}, 3)
        monkeypatch.undo()
        assert find_checkpoint(str(path))["step"] == 1
        assert json.loads((path / "status.json").read_text())["state"] == "stopped"


def test_figures_are_on_the_disk_before_their_checkpoint(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    opened = RunDir(_made(tmp_path / "run"), config, 0, CPU)
    metrics = opened._metrics.fileno()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("metrics" if fd == metrics else "file"), fsync(fd)))
    monkeypatch.setattr(opened._events, "flush", lambda: order.append("events"))
    with opened:
        opened.scalars({"critic/gap": 1.0}, 1)
        opened.checkpoint({}, 1)
    assert order[:4] == ["metrics", "events", "file", "file"]  # the last two: the checkpoint, and its folder


def test_a_line_cut_short_is_dropped(tmp_path: Path, config: RunConfig) -> None:
    path = _made(tmp_path / "run")
    (path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"ste')
    with RunDir(path, config, 5, CPU):
        pass
    assert (path / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_failed_write_leaves_the_old_file_and_no_scraps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_exit_codes_are_those_that_scripts_depend_on() -> None:
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 75]


def test_what_a_kill_in_the_first_moments_leaves_is_no_obstacle(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "samples").mkdir(parents=True)
    (run / "checkpoints").mkdir()
    for scrap in (".lock", ".config.yaml.77.tmp"):
        (run / scrap).touch()
    with occupied(run, "x", resume=True) as path:
        assert not list(path.glob(".*.tmp"))


def test_a_damaged_newest_checkpoint_never_costs_the_good_one(run: Path) -> None:
    newest, good = checkpoints(run)
    newest.write_bytes(newest.read_bytes()[:999])
    with RunDir(run, load_config("normal_gp", ["output.keep=1"]), 1, CPU) as opened:  # goes on from the good one
        assert checkpoints(run) == [good]
        opened.checkpoint({}, 1)
    assert find_checkpoint(str(run))["step"] == 1
    assert newest.with_suffix(".pt.damaged").is_file()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_is_found(run: Path, place: float, bit: int) -> None:
    whole = checkpoints(run)[0].read_bytes()
    flipped = bytearray(whole)
    flipped[int(place * len(whole))] ^= 1 << bit
    path = run / "flipped.pt"
    path.write_bytes(flipped)
    with pytest.raises(BadInputError, match="damaged"):
        read_checkpoint(path)


def test_strangers_among_the_files_are_left_alone(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "samples" / "000000020 copy.png").write_bytes(b"")
    (run / "samples" / "000000020.png").write_bytes(b"\x89PNG")
    (run / "checkpoints" / "0 best.pt").write_bytes(b"")
    assert run_dir.read_grids(run) == {}
    assert "000000020.png" in caplog.text
    assert len(checkpoints(run)) == 2


def test_metrics_end_at_what_a_crash_left(tmp_path: Path, config: RunConfig) -> None:
    path = _made(tmp_path / "run")
    (path / "metrics.jsonl").write_text('{"step": 1}\ngarbage\n{"step": 2}\n')
    with RunDir(path, config, 5, CPU):
        pass
    assert (path / "metrics.jsonl").read_text() == '{"step": 1}\n'
