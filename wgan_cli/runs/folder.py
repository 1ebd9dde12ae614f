"""A run's folder, open for writing: config, figures, grids, checkpoints and state; and its trackers, which have the
same figures and grids.

All files are written atomically, except those that grow (metrics, events, log). The figures of an iteration are written
before its checkpoint.
"""

import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Self

import torch
from filelock import Timeout

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.pixels import Pixels
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.files import Creations, creations, is_aside, is_lock_file, locked, write_atomically
from wgan_cli.plots.style import write_png
from wgan_cli.runs.checkpoints import CheckpointWriter, checkpoints
from wgan_cli.runs.environment import environment
from wgan_cli.runs.places import holds_run
from wgan_cli.runs.readers import parse_metrics, read_status
from wgan_cli.trackers import open_trackers

log = logging.getLogger("wgan")
State = Literal["running", "finished", "stopped", "diverged"]


class RunFolder:
    """One run's folder, open for writing. `step` is the iteration of a figure, grid or state."""

    def __init__(
        self, path: Path, config: RunConfig, step: int, device: torch.device, engine: str | None = None
    ) -> None:
        """Opens the folder to continue after iteration `step`. Removes later figures, which will be computed again."""
        self.path, self._config, self._step = path, config, step
        write_atomically(path / "config.yaml", config.to_yaml().encode())  # first: `holds_run` looks for it
        (path / "samples").mkdir(exist_ok=True)
        (path / "checkpoints").mkdir(exist_ok=True)
        for damaged in (file for file in checkpoints(path) if int(file.stem) > step):
            damaged.replace(damaged.with_suffix(".pt.damaged"))  # it could not be read, so an older one is the newest
        write_atomically(path / "environment.json", _json(environment(device) | {"engine": engine}))
        _cut_back(path / "metrics.jsonl", step)
        self._metrics = (path / "metrics.jsonl").open("a", encoding="utf-8")
        self._lines = (path / "log.txt").open("a", encoding="utf-8")
        self._trackers = open_trackers(path, config, step)
        # Grids and checkpoints are written in turn, behind training: a checkpoint's grids are there before it is.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="run folder")
        self._writer = CheckpointWriter(path, config, self._thread)
        self._drawing: Future[None] | None = None
        self._write_status("running")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Waits until all is written. A run that ends without an error is finished, whatever its step."""
        diverged = isinstance(error, WganError) and error.exit_code == ExitCode.DIVERGED
        state: State = "finished" if error is None else "diverged" if diverged else "stopped"
        faults: list[Exception] = []
        for close in (self._wait_for_picture, self._writer.wait, self._metrics.close, self._lines.close):
            with _kept(faults):
                close()
        self._thread.shutdown()
        for tracker in self._trackers:  # each, whatever fails before it: MLflow must not show an ended run as running
            with _kept(faults):
                tracker.close("stopped" if faults else state)
        self._write_status("stopped" if faults else state)
        if faults:
            raise faults[0]

    def _write_status(self, state: State) -> None:
        """Writes the state of the run for `wgan runs`."""
        status = {"state": state, "step": self._step, "host": socket.gethostname(), "pid": os.getpid()}
        with suppress(OSError):  # if the disk is full, training fails by itself and raises the error
            write_atomically(self.path / "status.json", _json(status))

    def scalars(self, figures: Mapping[str, float], step: int) -> None:
        """Writes the figures as one line of metrics.jsonl, and for the trackers."""
        self._writer.check()
        if self._drawing is not None and self._drawing.done():
            self._wait_for_picture()
        self._step = step
        self._metrics.write(json.dumps({"step": step, **figures}, allow_nan=False) + "\n")
        self._metrics.flush()
        for tracker in self._trackers:
            tracker.scalars(figures, step)

    def line(self, text: str) -> None:
        """Adds a line to log.txt, with the time. It is for people: lines of iterations that are made again stay."""
        self._lines.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        self._lines.flush()

    def picture(self, draw: Callable[[], Pixels], step: int) -> None:
        """Draws the grid on another thread, and writes it as a PNG, and for the trackers.

        Waits until an earlier one is written. If writing fails, a later call, or the exit, raises the `OSError`.
        """
        self._step = step
        self._wait_for_picture()
        self._drawing = self._thread.submit(self._draw, draw, step)

    def _draw(self, draw: Callable[[], Pixels], step: int) -> None:
        pixels = draw()
        write_png(self.path / "samples" / f"{step:09d}.png", pixels)
        for tracker in self._trackers:
            tracker.picture(pixels, step)

    def _wait_for_picture(self) -> None:
        drawing, self._drawing = self._drawing, None
        if drawing is not None:
            drawing.result()

    def checkpoint(self, state: Mapping[str, Any], step: int, *, best: bool = False) -> None:
        """Writes `state` on another thread as the newest checkpoint, and as the best one too.

        Removes all numbered ones but the newest `output.keep`. Returns as soon as the state is copied. If writing
        fails, a later call, or the exit, raises the `OSError`.
        """
        self._step = step
        self._writer.save(state, step, self._flush, best=best)

    def _flush(self) -> None:
        os.fsync(self._metrics.fileno())
        for tracker in self._trackers:
            tracker.flush()


@contextmanager
def _kept(faults: list[Exception]) -> Iterator[None]:
    """Adds an error inside the context to `faults`, and goes on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised once all is closed
        faults.append(error)


def mark_finished(path: Path, config: RunConfig) -> None:
    """Writes the state of a run that is complete under `config`, where it was killed before, or had more patience."""
    if load_config(str(path / "config.yaml")).training != config.training:
        with suppress(OSError):
            write_atomically(path / "config.yaml", config.to_yaml().encode())
    status = read_status(path)
    if status.get("state") == "finished":
        return
    with suppress(OSError):  # a folder that can't be written to any more still holds the complete run
        write_atomically(path / "status.json", _json({**status, "state": "finished"}))


@contextmanager
def claimed(out: Path | None, name: str, *, resume: bool = False) -> Iterator[Path]:
    """Reserves the folder of a run: no other process can claim it while the context lasts.

    `out` is a new or empty folder or, with `resume`, one that holds a run. If it is None, the folder is
    `runs/name-NNNN` with the next number. Raises `BadInputError`, with nothing written, for a folder that is not free.
    If the context ends with an exception before the folder holds a run, what was created for it is removed.
    """
    with creations() as made, ExitStack() as stack:
        try:
            path = _make_numbered(name, Path("runs"), made) if out is None else out
            refuse_unless_free(path, resume)
            made.folder(path)
            stack.enter_context(locked(path / ".lock", made, timeout=0))
        except Timeout:
            raise BadInputError(f"--out {out}: another process is training in it; name another folder") from None
        except OSError as error:
            raise BadInputError(f"--out {out or 'runs'}: can't be written ({error.strerror})") from error
        refuse_unless_free(path, resume)  # again, as another process may have been quicker
        for folder in (path, path / "samples", path / "checkpoints"):
            for unfinished in filter(is_aside, folder.glob(".*.tmp")):  # of a process that was killed
                unfinished.unlink()
        try:
            yield path
        except BaseException:
            if holds_run(path):
                made.keep()
            raise


def _make_numbered(name: str, parent: Path, made: Creations) -> Path:
    made.folder(parent)
    pattern = re.compile(re.escape(name) + r"-(\d{4,})")
    number = max((int(match[1]) for entry in parent.iterdir() if (match := pattern.fullmatch(entry.name))), default=0)
    while True:
        number += 1
        with suppress(FileExistsError):  # another process was quicker
            return made.new_folder(parent / f"{name}-{number:04d}")


def refuse_unless_free(path: Path, resume: bool) -> None:
    """Raises `BadInputError` if a run can neither begin in the folder `path` nor, with `resume`, go on there."""
    if holds_run(path):
        if not resume:
            raise BadInputError(f"--out {path}: holds a run; --resume goes on with it, else name another folder")
    elif path.exists() and not path.is_dir():
        raise BadInputError(f"--out {path}: can't be written (Not a directory)")
    elif path.is_dir() and not all(_is_leftover(entry) for entry in path.iterdir()):
        raise BadInputError(f"--out {path}: is not empty, and holds no run; name another folder")


def _is_leftover(entry: Path) -> bool:
    """Whether this is left from a run that was killed before it wrote its config."""
    if entry.is_symlink():
        return False
    if entry.is_dir():
        return entry.name in ("samples", "checkpoints") and not any(entry.iterdir())
    return (entry.name == ".lock" and is_lock_file(entry)) or is_aside(entry)


def _cut_back(metrics: Path, step: int) -> None:
    """Keeps the lines up to `step`. Drops later ones, and with a warning those that a crash damaged."""
    if not metrics.exists():
        return
    kept, damaged = [], 0
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        found = parse_metrics(line)
        damaged += found is None
        if found is not None and found["step"] <= step:
            kept.append(line)
    if damaged:
        log.warning("%s: %d damaged lines are left out", metrics, damaged)
    write_atomically(metrics, "".join(kept).encode())


def _json(tree: Mapping[str, Any]) -> bytes:
    return json.dumps(tree, indent=2).encode() + b"\n"
