"""The list of runs below a folder. It only reads files, so it also shows runs that other machines train now."""

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from os.path import realpath
from pathlib import Path
from typing import Any

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.runs.folder import State
from wgan_cli.runs.places import holds_run
from wgan_cli.runs.readers import read_metrics, read_status

log = logging.getLogger("wgan")

SILENCE = 60.0
"""A run counts as stopped if it writes nothing for three logging intervals plus this many seconds."""
FIRST_SILENCE = 600.0
"""The limit in seconds before anything is logged, while the speed of the run is unknown."""


@dataclass(frozen=True)
class RunSummary:
    """The state of a run, with the figures of its last logged iteration (None if it logged none)."""

    name: str
    """The run's folder, relative to the searched one."""
    step: int
    iterations: int
    state: State
    gap: float | None
    w1: float | None
    """The critic's W1 estimate."""
    truth: float | None
    """The newest `truth/w1`, which runs of images log only with a grid."""
    floor: float | None
    """The newest `truth/w1_floor`: the truth of a perfect generator."""
    iterations_per_second: float | None
    last_written: str
    """UTC, ISO 8601."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dictionary, for JSON."""
        return asdict(self)


def find_runs(folder: Path) -> Iterator[Path]:
    """The folders of runs at or below `folder`, in the order of their names: each once, whatever links to it.

    A run has the name of its own place where that is below the folder too. A folder that can't be read is left out,
    with a warning.
    """
    seen: set[Path] = set()
    found: list[Path] = []
    places = [folder]
    while places:  # first what is below the folder itself, then what its links lead to, and so on
        links: list[Path] = []
        for place in places:
            found += _below(place, seen, links)
        places = links
    yield from sorted(found)


def _below(folder: Path, seen: set[Path], links: list[Path]) -> Iterator[Path]:
    """The runs at or below `folder` whose places were not `seen` yet. Links to other folders are added to `links`."""
    try:
        place = Path(realpath(folder))  # `Path.resolve` raises an error of its own for links in a circle
        if place in seen:
            return
        seen.add(place)
        if holds_run(folder):
            yield folder
            return
        entries = sorted(folder.iterdir())
    except OSError as error:
        log.warning("%s: can't be read (%s); left out", folder, error.strerror)
        return
    for entry in entries:
        if entry.name.startswith(".") or not _is_folder(entry):
            continue
        if entry.is_symlink():
            links.append(entry)
        else:
            yield from _below(entry, seen, links)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        log.warning("%s: can't be read (%s); left out", path, error.strerror)
        return False


def summaries(folder: Path) -> tuple[list[RunSummary], list[str]]:
    """The runs at or below `folder`, and one message for each run that can't be read. Raises `BadInputError` if
    there is no such folder."""
    if not folder.is_dir():
        raise BadInputError(f"{folder}: no such folder")
    found, faults = [], []
    for path in find_runs(folder):
        name = path.name if path == folder else str(path.relative_to(folder))
        try:
            found.append(_summary(path, name))
        except (WganError, OSError) as error:
            faults.append(str(error))
    return found, faults


def _summary(path: Path, name: str) -> RunSummary:
    config = load_config(str(path / "config.yaml"))
    lines = read_metrics(path) if (path / "metrics.jsonl").exists() else []
    last: dict[str, Any] = lines[-1] if lines else {}

    def newest(figure: str) -> float | None:
        return next((line[figure] for line in reversed(lines) if figure in line), None)

    status = read_status(path)
    step = max(int(last.get("step", 0)), int(status.get("step", 0)))
    written = max(_modified(path / name) for name in ("config.yaml", "status.json", "metrics.jsonl", "samples"))
    speed = last.get("speed/iterations_per_second")
    return RunSummary(
        name=name,
        step=step,
        iterations=config.training.iterations,
        state=_state(status, step, config, time.time() - written, speed),
        gap=last.get("critic/gap"),
        w1=last.get("critic/w1"),
        truth=newest("truth/w1"),
        floor=newest("truth/w1_floor"),
        iterations_per_second=speed,
        last_written=datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds"),
    )


def _state(status: Mapping[str, Any], step: int, config: RunConfig, silent_for: float, speed: float | None) -> State:
    """The state of a run whose status.json holds `status`. A run that should be running, but whose process has ended,
    or that was silent for too long, was killed or lost its machine: it counts as stopped."""
    written = status.get("state")
    if written == "diverged":
        return "diverged"
    if written == "running":
        patience = SILENCE + 3 * config.output.log_every / speed if speed else FIRST_SILENCE
        return "running" if silent_for < patience and not _has_ended(status) else "stopped"
    # The last iteration alone says little: an error may have cost its checkpoint, as on a full disk.
    is_complete = config.training.patience is not None or step >= config.training.iterations
    return "finished" if written == "finished" and is_complete else "stopped"


def _has_ended(status: Mapping[str, Any]) -> bool:
    """Whether a run was of this machine, and its process is no more."""
    pid = status.get("pid")
    if os.name != "posix" or status.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False  # it is another user's
    return False


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
