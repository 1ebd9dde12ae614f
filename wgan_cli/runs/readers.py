"""Readers of a run's figures, grids, environment and status. They never write, and can read a run in training."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from wgan_cli.data.pixels import Pixels
from wgan_cli.errors import BadInputError
from wgan_cli.runs.checkpoints import numbered

log = logging.getLogger("wgan")


def read_metrics(run: Path) -> list[dict[str, float]]:
    """The logged lines of a run, in order, without an incomplete last one. A warning tells of damaged lines.

    Raises `BadInputError` if the file can't be read.
    """
    if not run.exists():
        raise BadInputError(f"{run}: no such folder; `wgan runs` lists runs")
    try:
        text = (run / "metrics.jsonl").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        reason = f"its metrics.jsonl can't be read ({error.strerror})"
        raise BadInputError(f"{run}: {reason}; name a run's folder") from error
    lines = [parse_metrics(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    if None in lines:
        log.warning("%s: %d damaged lines of metrics.jsonl are left out", run, lines.count(None))
    return [line for line in lines if line is not None]


def parse_metrics(line: str) -> dict[str, float] | None:
    """The figures of one line of metrics.jsonl; None for a damaged line."""
    try:
        figures = json.loads(line)
    except ValueError:
        return None
    if not isinstance(figures, dict) or not line.endswith("\n"):
        return None
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in figures.values())
    return figures if "step" in figures and numbers else None


def read_evaluation(run: Path) -> dict[str, float]:
    """The figures of the run's last `wgan evaluate`; empty if there are none, or if they can't be read."""
    try:
        figures = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return figures if isinstance(figures, dict) and "step" in figures else {}


def read_grids(run: Path) -> dict[int, Pixels]:
    """The grids of a run by iteration, each (H, W, 3). A warning names each file that can't be read."""
    from PIL import Image

    grids = {}
    for step, path in sorted(numbered(run / "samples", ".png").items()):
        try:
            grids[step] = np.array(Image.open(path).convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for damaged files
            log.warning("%s: can't be read as a picture (%s); left out", path, error)
    return grids


def read_threads(run: Path) -> int | None:
    """The number of CPU threads of the run's last start; None for a new run."""
    try:
        return int(json.loads((run / "environment.json").read_text(encoding="utf-8"))["threads"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_status(run: Path) -> dict[str, Any]:
    """The content of the run's status.json; empty if it is missing or, with a warning, damaged."""
    path = run / "status.json"
    try:
        status = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("%s: can't be read (%s), so the run's state is not known", path, error.strerror)
        return {}
    except ValueError:
        status = None
    if isinstance(status, dict) and type(status.get("step", 0)) is int:
        return status
    log.warning("%s: is damaged, so the run's state is not known", path)
    return {}
