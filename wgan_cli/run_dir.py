"""The folder of a run: its config, metrics, TensorBoard events, grids and checkpoints.

Every file but the two that grow (metrics, events) is written aside and renamed, so what has a final name is
whole. Only plain containers and tensors go into a checkpoint, and it is read with `weights_only=True`: code
that somebody put into one is refused, never run.
"""

import io
import json
import logging
import math
import os
import pickle
import platform
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from filelock import FileLock, Timeout

from wgan_cli import __version__
from wgan_cli.config import RunConfig, config_from_dict
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.plots import Pixels

CHECKPOINT_FORMAT = 1
log = logging.getLogger("wgan")


def write_atomically(path: Path, content: bytes) -> None:
    """Writes aside, flushes to the disk, renames: at any instant `path` is the old file or the whole new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_png(path: Path, pixels: Pixels) -> None:
    """A picture (H, W, C) as PNG; one channel is grey."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())


class RunDir:
    """One run's folder, open for writing. `step` is the iteration that a figure, grid or state belongs to."""

    def __init__(self, path: Path, config: RunConfig, step: int, device: torch.device) -> None:
        """Opens the folder for what follows iteration `step`; figures after it, from a lost end, are cut off."""
        from torch.utils.tensorboard import SummaryWriter

        self.path, self._config = path, config
        write_atomically(path / "config.yaml", config.to_yaml().encode())  # first: it makes the folder a run's
        (path / "samples").mkdir(exist_ok=True)
        (path / "checkpoints").mkdir(exist_ok=True)
        for damaged in (file for file in checkpoints(path) if int(file.stem) > step):
            damaged.replace(damaged.with_suffix(".pt.damaged"))  # it was stepped over, and must not count as newest
        write_atomically(path / "environment.json", json.dumps(_environment(device), indent=2).encode() + b"\n")
        _cut_back(path / "metrics.jsonl", step)
        self._metrics = (path / "metrics.jsonl").open("a", encoding="utf-8")
        self._events = SummaryWriter(str(path), purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.close()
        self._events.close()

    def scalars(self, figures: Mapping[str, float], step: int) -> None:
        """One line of metrics.jsonl, and the same figures for TensorBoard."""
        self._metrics.write(json.dumps({"step": step, **figures}, allow_nan=False) + "\n")
        self._metrics.flush()
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)

    def picture(self, pixels: Pixels, step: int) -> None:
        """The grid of this step, as a PNG and for TensorBoard."""
        write_png(self.path / "samples" / f"{step:09d}.png", pixels)
        self._events.add_image("samples", pixels, step, dataformats="HWC")
        self._events.flush()

    def checkpoint(self, state: Mapping[str, Any], step: int) -> None:
        """Writes `state` as the newest checkpoint, then removes all but the newest `output.keep`."""
        content = io.BytesIO()
        header = {
            "format": CHECKPOINT_FORMAT,
            "wgan": __version__,
            "step": step,
            "config": self._config.to_dict(),
        }
        torch.save({**header, **state}, content)
        write_atomically(self.path / "checkpoints" / f"{step:09d}.pt", content.getvalue())
        for old in checkpoints(self.path)[self._config.output.keep :]:
            old.unlink()


@contextmanager
def occupied(out: Path | None, name: str, *, resume: bool = False) -> Iterator[Path]:
    """The folder of a run, held by this process alone while the context lasts.

    `out` is a new or empty folder, or with `resume` one that holds a run; None makes `runs/name-NNNN`, one above
    the highest number there. Raises `BadInputError`, with nothing written, for a folder that is not free.
    """
    try:
        path = _make_numbered(name, Path("runs")) if out is None else out
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


def _make_numbered(name: str, parent: Path) -> Path:
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


def checkpoints(run: Path) -> list[Path]:
    """The run's checkpoint files, newest first."""
    return [path for _, path in sorted(_numbered(run / "checkpoints", ".pt").items(), reverse=True)]


def _numbered(folder: Path, ending: str) -> dict[int, Path]:
    """The files of a folder that are named by an iteration."""
    return {int(path.stem): path for path in folder.glob(f"*{ending}") if re.fullmatch(r"\d{9,}", path.stem)}


def read_newest(run: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint of a run; a damaged one is named and stepped over. None where there is none."""
    damaged = None
    for path in checkpoints(run):
        try:
            return read_checkpoint(path)
        except WganError as error:
            log.warning("%s; trying an older one", error)
            damaged = error
    if damaged is not None:
        raise WganError(f"{run}: none of its checkpoints can be read; the last tried: {damaged}")
    return None


def find_checkpoint(target: str) -> dict[str, Any]:
    """The checkpoint that `--ckpt RUN|FILE` names. Raises `BadInputError` where there is none."""
    path = Path(target).expanduser()
    if path.is_file():
        return read_checkpoint(path)
    if not path.is_dir():
        raise BadInputError(f"--ckpt {target}: no such run folder or file")
    state = read_newest(path)
    if state is None:
        raise BadInputError(f"--ckpt {target}: holds no checkpoint (checkpoints/*.pt); name a run's folder or its file")
    return state


def load_plain(path: Path) -> Any:
    """What torch saved in `path`, on the CPU, where it is plain containers and tensors; nothing in it is run.

    Raises `BadInputError` for any other file.
    """
    try:
        if not zipfile.is_zipfile(path):  # torch would take anything else for a pickle
            raise BadInputError(f"{path}: truncated, damaged, or not a file of torch's")
        with zipfile.ZipFile(path) as file:
            if file.testzip() is not None:  # torch itself compares no checksums
                raise BadInputError(f"{path}: damaged: a part of it has another checksum than when it was written")
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadInputError(f"{path}: refused: holds more than plain tensors, so it may carry code") from error
    except OSError as error:
        raise BadInputError(f"{path}: can't be read ({error.strerror})") from error
    except (
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:  # all seen on flipped bits
        raise BadInputError(f"{path}: truncated, damaged, or not a file of torch's") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of one checkpoint, on the CPU. Raises `BadInputError` for a file that is none, or not whole."""
    state = load_plain(path)
    if not isinstance(state, dict) or "format" not in state:
        raise BadInputError(f"{path}: not a checkpoint of wgan")
    if state["format"] != CHECKPOINT_FORMAT:
        raise BadInputError(
            f"{path}: has checkpoint format {state['format']}, but this wgan reads {CHECKPOINT_FORMAT}; "
            f"use wgan {state.get('wgan')}, which wrote it"
        )
    return state


def checkpoint_config(state: Mapping[str, Any], source: str) -> RunConfig:
    return config_from_dict(state["config"], source)


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
    for step, path in sorted(_numbered(run / "samples", ".png").items()):
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
