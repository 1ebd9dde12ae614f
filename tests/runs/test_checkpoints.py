import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.runs.checkpoints import (
    CHECKPOINT_FORMAT,
    CheckpointWriter,
    checkpoint_config,
    checkpoints,
    copied,
    find_checkpoint,
    read_checkpoint,
    read_newest,
    sealed,
)


@pytest.fixture
def folder(empty: Path) -> Path:
    """A run's folder without checkpoints."""
    (empty / "checkpoints").mkdir()
    return empty


@pytest.fixture
def thread() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as opened:
        yield opened


def save(writer: CheckpointWriter, state: dict, *steps: int) -> None:
    for step in steps:
        writer.save(state, step, before=lambda: None)


def test_the_newest_few_checkpoints_are_kept(folder: Path, config: RunConfig, thread: Executor) -> None:
    writer = CheckpointWriter(folder, config, thread)
    save(writer, {}, 5, 10, 1000, 20000)
    writer.wait()
    assert [path.name for path in checkpoints(folder)] == ["000020000.pt", "000001000.pt"]


def test_a_checkpoint_describes_itself(run: Path, config: RunConfig) -> None:
    state = find_checkpoint(str(run))
    assert state["step"] == 2
    assert state["weights"].tolist() == [2, 2, 2]
    assert checkpoint_config(state, "x") == config
    assert find_checkpoint(str(run / "checkpoints" / "000000001.pt"))["step"] == 1


def test_a_checkpoint_holds_the_state_at_the_call(folder: Path, thread: Executor) -> None:
    """Training goes on while the file is written."""
    writer = CheckpointWriter(folder, load_config("normal_gp", ["output.keep=9"]), thread)
    weights, nested = torch.zeros(1000), [torch.zeros(3), {"n": 1}]
    for step in range(1, 6):
        save(writer, {"weights": weights, "nested": nested}, step)
        weights += 1
        nested[0] += 1
    writer.wait()
    assert len(checkpoints(folder)) == 5
    for path in checkpoints(folder):
        state = read_checkpoint(path)
        assert state["weights"].unique().tolist() == [state["step"] - 1]
        assert state["nested"][0].tolist() == [state["step"] - 1] * 3
        assert state["nested"][1] == {"n": 1}


def test_saving_does_not_wait_for_the_disk(folder: Path, config: RunConfig, thread: Executor) -> None:
    writer, disk = CheckpointWriter(folder, config, thread), threading.Event()
    writer.save({}, 1, before=lambda: disk.wait(60) and None)
    writer.check()
    assert checkpoints(folder) == []
    disk.set()
    writer.wait()
    assert [path.name for path in checkpoints(folder)] == ["000000001.pt"]


@pytest.mark.parametrize("then", ["check", "save", "wait"])
def test_a_failed_checkpoint_is_raised_by_the_next_call(
    folder: Path, config: RunConfig, thread: Executor, then: str
) -> None:
    writer = CheckpointWriter(folder, config, thread)
    save(writer, {"weights": torch.ones(3)}, 1)
    writer.wait()
    failed = threading.Event()

    def full() -> None:
        failed.set()
        raise OSError(28, "No space left on device")

    writer.save({}, 2, before=full)
    assert failed.wait(60)
    calls: dict[str, Callable[[], object]] = {
        "check": lambda: [writer.check() or time.sleep(0.01) for _ in range(1000)],  # until the thread has ended
        "save": lambda: save(writer, {}, 3),
        "wait": writer.wait,
    }
    with pytest.raises(OSError, match="No space left"):
        calls[then]()
    assert find_checkpoint(str(folder))["step"] == 1


def test_equal_states_give_equal_bytes() -> None:
    names = ["betas" * 9, "".join(["betas"] * 9)]  # equal strings, but two objects
    assert names[0] is not names[1]
    one, other = ({name: torch.ones(2), "again": [name]} for name in names)
    mixed = {names[0]: torch.ones(2), "again": [names[1]]}
    assert len({sealed(copied(state)) for state in (one, other, mixed)}) == 1


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_damaged_checkpoint_is_named_and_skipped(run: Path, keep: int, caplog: pytest.LogCaptureFixture) -> None:
    newest = checkpoints(run)[0]
    newest.write_bytes(newest.read_bytes()[:keep])
    assert find_checkpoint(str(run))["step"] == 1
    assert newest.name in caplog.text
    with pytest.raises(BadInputError, match="damaged"):
        read_checkpoint(newest)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_is_detected(run: Path, place: float, bit: int) -> None:
    whole = checkpoints(run)[0].read_bytes()
    flipped = bytearray(whole)
    flipped[int(place * len(whole))] ^= 1 << bit
    path = run / "flipped.pt"
    path.write_bytes(flipped)
    with pytest.raises(BadInputError, match="damaged"):
        read_checkpoint(path)


def test_a_run_without_a_whole_checkpoint_is_refused(run: Path) -> None:
    for path in checkpoints(run):
        path.write_bytes(b"")
    hint = "; --best reads that of the best samples"
    for has_best in (False, True):
        if has_best:
            (run / "checkpoints" / "best.pt").touch()
        with pytest.raises(WganError, match="none of its checkpoints can be read") as caught:
            find_checkpoint(str(run))
        assert str(caught.value).endswith(hint) == has_best


def test_other_files_beside_the_checkpoints_are_left_alone(run: Path) -> None:
    (run / "checkpoints" / "0 best.pt").write_bytes(b"")
    (run / "checkpoints" / "000000003.pt.damaged").write_bytes(b"")
    assert [path.name for path in checkpoints(run)] == ["000000002.pt", "000000001.pt"]


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


def test_missing_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="nothing: no such run folder or checkpoint file"):
        find_checkpoint(str(tmp_path / "nothing"))
    with pytest.raises(BadInputError, match="holds no checkpoint"):
        find_checkpoint(str(tmp_path))
    assert read_newest(tmp_path) is None


def test_the_format_is_that_of_older_versions() -> None:
    """Raise it only if checkpoints of an older version can't be read any more, and say so in the changelog."""
    assert CHECKPOINT_FORMAT == 2
