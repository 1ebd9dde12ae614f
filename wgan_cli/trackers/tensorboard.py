"""TensorBoard: event files in the run's folder."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.pixels import Pixels
from wgan_cli.trackers.base import Tracker

LAYOUT = {
    "wgan": {
        "gap, bound and truth": ["Multiline", ["critic/gap$", "critic/w1$", "critic/w1_low", "truth/w1$"]],
        "losses": ["Multiline", ["critic/loss", "generator/loss", "critic/penalty"]],
        "truth and floor": ["Multiline", ["truth/.*"]],
        "Fréchet distance": ["Multiline", ["frechet/.*"]],
    }
}
"""Charts of several figures (the tab Custom Scalars): how the names of the figures match."""
SHOWN = ("critic/w1_low", "truth/w1")
"""The figures that the tab HParams shows beside the settings."""


class TensorBoardTracker(Tracker):
    """Event files. Figures after the iteration at which a run goes on are purged, so each stands there once."""

    def __init__(self, run: Path, config: RunConfig, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        _date_back(run)
        self._events = SummaryWriter(str(run), purge_step=step + 1 if step else 0)
        self._events.add_custom_scalars(LAYOUT)
        self._begin_session(config)

    def _begin_session(self, config: RunConfig) -> None:
        """Lists the run in the tab HParams. torch's `add_hparams` would list it under a folder of its own."""
        from torch.utils.tensorboard.summary import hparams

        settings = config.flat().items()
        values = {key: value if isinstance(value, float | int) else str(value) for key, value in settings}
        files: Any = self._events.file_writer
        for summary in hparams(values, dict.fromkeys(SHOWN)):
            files.add_summary(summary)

    def scalars(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)

    def picture(self, pixels: Pixels, step: int) -> None:
        self._events.add_image("samples", pixels, step, dataformats="HWC")

    def flush(self) -> None:
        self._events.flush()

    def close(self, state: str) -> None:
        self._events.close()


def _date_back(run: Path) -> None:
    """Renames the existing event files, if needed, so that their names sort before that of a file created now.

    TensorBoard reads event files in the order of their names, which contain the time of creation in seconds, and drops
    the steps that a later file purges. If the clock was set back, the order of the names would be wrong.
    """
    pattern = re.compile(r"events\.out\.tfevents\.(\d+)\.(.+)")
    found = sorted((int(match[1]), match[2]) for entry in run.iterdir() if (match := pattern.fullmatch(entry.name)))
    second = int(time.time())
    for stamp, rest in reversed(found):
        second = min(stamp, second - 1)
        if second != stamp:
            name = run / f"events.out.tfevents.{stamp:010d}.{rest}"
            name.rename(run / f"events.out.tfevents.{second:010d}.{rest}")
