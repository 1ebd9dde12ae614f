"""The folder of a run: its config, metrics, TensorBoard events, grids, checkpoints and state.

Every file but the two that grow (metrics, events) is written aside and renamed, so what has a final name is
whole. Figures of an iteration are on the disk before a checkpoint of it is.
"""

import io
import json
import logging
import math
import os
import platform
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from filelock import FileLock, Timeout

from wgan_cli import __version__
from wgan_cli.checkpoints import CheckpointWriter, checkpoints, numbered
from wgan_cli.config import RunConfig
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.files import write_atomically
from wgan_cli.plots import Pixels

log = logging.getLogger("wgan")
State = Literal["running", "finished", "stopped", "diverged"]


def write_png(path: Path, pixels: Pixels) -> None:
    """A picture (H, W, C) as PNG; one channel is grey."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


class RunDir:
    """One run's folder, open for writing. `step` is the iteration that a figure, grid or state belongs to."""

    def __init__(
        self, path: Path, config: RunConfig, step: int, device: torch.device, engine: str | None = None
    ) -> None:
        """Opens the folder for what follows iteration `step`; figures after it, from a lost end, are cut off."""
        from torch.utils.tensorboard import SummaryWriter

        self.path, self._config, self._step = path, config, step
        write_atomically(path / "config.yaml", config.to_yaml().encode())  # first: it makes the folder a run's
        (path / "samples").mkdir(exist_ok=True)
        (path / "checkpoints").mkdir(exist_ok=True)
        for damaged in (file for file in checkpoints(path) if int(file.stem) > step):
            damaged.replace(damaged.with_suffix(".pt.damaged"))  # it was stepped over, and must not count as newest
        write_atomically(path / "environment.json", _json(_environment(device) | {"engine": engine}))
        _cut_back(path / "metrics.jsonl", step)
        self._metrics = (path / "metrics.jsonl").open("a", encoding="utf-8")
        _make_older(path)
        self._events = SummaryWriter(str(path), purge_step=step + 1)
        self._writer = CheckpointWriter(path, config)
        self._tell("running")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Waits for what is being written. A run that ends without an error is finished, whatever its step."""
        try:
            self._writer.close()
            self._metrics.close()
            self._events.close()
        except OSError:
            self._tell("stopped")
            raise
        diverged = isinstance(error, WganError) and error.exit_code == ExitCode.DIVERGED
        self._tell("finished" if error is None else "diverged" if diverged else "stopped")

    def _tell(self, state: State) -> None:
        """Writes what is known of the run from outside, for `wgan runs`."""
        status = {"state": state, "step": self._step, "host": socket.gethostname(), "pid": os.getpid()}
        with suppress(OSError):  # where the disk is full, the one error that counts is told of by training
            write_atomically(self.path / "status.json", _json(status))

    def scalars(self, figures: Mapping[str, float], step: int) -> None:
        """One line of metrics.jsonl, and the same figures for TensorBoard."""
        self._writer.check()
        self._step = step
        self._metrics.write(json.dumps({"step": step, **figures}, allow_nan=False) + "\n")
        self._metrics.flush()
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)

    def picture(self, pixels: Pixels, step: int) -> None:
        """The grid of this step, as a PNG and for TensorBoard."""
        self._step = step
        write_png(self.path / "samples" / f"{step:09d}.png", pixels)
        self._events.add_image("samples", pixels, step, dataformats="HWC")

    def checkpoint(self, state: Mapping[str, Any], step: int) -> None:
        """Has `state` written as the newest checkpoint, and all but the newest `output.keep` removed.

        Returns as soon as the state is copied; a failure (`OSError`) is raised by a later call, or by the exit.
        """
        self._step = step
        self._writer.save(state, step, before=self._flush)

    def _flush(self) -> None:
        """Whatever was logged is on the disk."""
        os.fsync(self._metrics.fileno())
        self._events.flush()


@contextmanager
def occupied(out: Path | None, name: str, *, resume: bool = False) -> Iterator[Path]:
    """The folder of a run, held by this process alone while the context lasts.

    `out` is a new or empty folder, or with `resume` one that holds a run; None makes `runs/name-NNNN`, one above
    the highest number there. Raises `BadInputError`, with nothing written, for a folder that is not free.
    """
    try:
        path = _makenumbered(name, Path("runs")) if out is None else out
        _refuse_unless_free(path, resume)
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise BadInputError(f"--out {out}: another process is training in it; name another folder") from None
    except OSError as error:
        raise BadInputError(f"--out {out or 'runs'}: can't be written ({error.strerror})") from error
    try:
        _refuse_unless_free(path, resume)  # again, as another process may have been quicker
        for scrap in path.rglob(".*.tmp"):  # of a process that was killed while it wrote
            scrap.unlink()
        yield path
    finally:
        lock.release()


def _makenumbered(name: str, parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(re.escape(name) + r"-(\d{4,})")
    number = max((int(match[1]) for entry in parent.iterdir() if (match := pattern.fullmatch(entry.name))), default=0)
    while True:
        number += 1
        path = parent / f"{name}-{number:04d}"
        try:
            path.mkdir()  # fails if another process was quicker
        except FileExistsError:
            continue
        return path


def _refuse_unless_free(path: Path, resume: bool) -> None:
    if holds_run(path):
        if not resume:
            raise BadInputError(f"--out {path}: holds a run; --resume goes on with it, else name another folder")
    elif path.is_dir() and not all(_is_scrap(entry) for entry in path.iterdir()):
        raise BadInputError(f"--out {path}: is not empty, and holds no run; name another folder")


def _is_scrap(entry: Path) -> bool:
    """Whether this is what a run that was killed in its first moments leaves behind."""
    if entry.is_dir():
        return entry.name in ("samples", "checkpoints") and not any(entry.iterdir())
    return entry.name == ".lock" or (entry.name.startswith(".") and entry.suffix == ".tmp")


def holds_run(path: Path) -> bool:
    return (path / "config.yaml").is_file()


def threads_before(run: Path) -> int | None:
    """With how many threads the run was begun; None for a new one."""
    try:
        return int(json.loads((run / "environment.json").read_text(encoding="utf-8"))["threads"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_metrics(run: Path) -> list[dict[str, float]]:
    """The logged lines of a run, in order; a last one that is cut short (a live run's) is left out."""
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]
    except (OSError, ValueError) as error:
        raise BadInputError(f"{run}: its metrics.jsonl can't be read ({error}); name a run's folder") from error


def read_grids(run: Path) -> dict[int, Pixels]:
    """The pictures of a run by iteration, each (H, W, C)."""
    from PIL import Image

    grids = {}
    for step, path in sorted(numbered(run / "samples", ".png").items()):
        try:
            grids[step] = np.array(Image.open(path).convert("RGB"))
        except OSError as error:
            log.warning("%s: can't be read as a picture (%s); left out", path, error)
    return grids


def _cut_back(metrics: Path, step: int) -> None:
    """Drops the lines after `step`, and a last one that was cut short by a crash."""
    if not metrics.exists():
        return
    kept = []
    for line in metrics.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n") or _step_of(line) > step:
            break
        kept.append(line)
    write_atomically(metrics, "".join(kept).encode())


def _step_of(line: str) -> float:
    """The iteration of a logged line; beyond all where a crash left something else."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _make_older(path: Path) -> None:
    """Sees to it that event files which are there come before one that is made now.

    TensorBoard reads them in the order of their names, which begin with the second they were made in, and drops
    what a later one purges: a clock that was set back would turn that round.
    """
    pattern = re.compile(r"events\.out\.tfevents\.(\d+)\.(.+)")
    found = sorted((int(match[1]), match[2]) for entry in path.iterdir() if (match := pattern.fullmatch(entry.name)))
    second = int(time.time())
    for stamp, rest in reversed(found):
        second = min(stamp, second - 1)
        if second != stamp:
            name = path / f"events.out.tfevents.{stamp:010d}.{rest}"
            name.rename(path / f"events.out.tfevents.{second:010d}.{rest}")


def _json(tree: Mapping[str, Any]) -> bytes:
    return json.dumps(tree, indent=2).encode() + b"\n"


def _environment(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "wgan": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "platform": platform.platform(),
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "command": sys.argv,
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """The commit of the source tree that runs, where it is one; None for an installed wheel."""
    here = Path(__file__).parent.parent
    if not (here / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
