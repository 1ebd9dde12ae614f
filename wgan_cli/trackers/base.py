"""The interface of an experiment tracker."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.pixels import Pixels
from wgan_cli.files import write_atomically

PROJECT = "wgan"
"""The project or experiment that runs are listed in, unless the tracker's own environment variable names another."""


class Tracker(ABC):
    """Takes the figures and grids of one run. `step` is the iteration of a figure or grid."""

    @abstractmethod
    def __init__(self, run: Path, config: RunConfig, step: int) -> None:
        """Opens the record of the run in folder `run`, or goes on with it after iteration `step`."""

    @abstractmethod
    def scalars(self, figures: Mapping[str, float], step: int) -> None:
        """Takes figures by their names."""

    @abstractmethod
    def picture(self, pixels: Pixels, step: int) -> None:
        """Takes a grid, uint8 (H, W, 3)."""

    def flush(self) -> None:
        """Returns once what was taken is where it would survive a crash, if the tracker can do so without waiting for
        others."""
        return

    @abstractmethod
    def close(self, state: str) -> None:
        """Ends the record. `state` is that of status.json: finished, stopped or diverged."""


def tags(config: RunConfig) -> dict[str, str]:
    """What runs are often filtered by."""
    return {
        "data": config.data.kind,
        "generator": config.generator.kind,
        "critic": config.critic.kind,
        "lipschitz": config.lipschitz.kind,
        "objective": config.objective.kind,
    }


def remembered(run: Path, tracker: str) -> str | None:
    """The name under which a tracker knows the run, so that one that goes on adds to its record; None at first."""
    try:
        return (run / f"{tracker}.id").read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def remember(run: Path, tracker: str, name: str) -> None:
    """Keeps the name in the run's folder."""
    write_atomically(run / f"{tracker}.id", name.encode() + b"\n")
