"""Experiment trackers: where figures and grids of a run go besides its own files. `output.report` names them."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError
from wgan_cli.trackers.background import Background
from wgan_cli.trackers.base import Tracker
from wgan_cli.trackers.mlflow import MlflowTracker
from wgan_cli.trackers.tensorboard import TensorBoardTracker
from wgan_cli.trackers.wandb import WandbTracker

SERVICES: dict[str, type[Tracker]] = {"mlflow": MlflowTracker, "wandb": WandbTracker}
"""Those that may wait for a network, and whose failure must not end a run."""


def check_trackers(config: RunConfig) -> None:
    """Raises `BadInputError` if a tracker of the config is not installed."""
    for name in config.output.report:
        if name in SERVICES and find_spec(name) is None:
            raise BadInputError(f"output.report: {name} is not installed; pip install 'wgan[{name}]', or take it away")


def open_trackers(run: Path, config: RunConfig, step: int) -> list[Tracker]:
    """The trackers of the run in folder `run`, which goes on after iteration `step`."""
    opened: list[Tracker] = []
    for name in config.output.report:
        if name == "tensorboard":
            opened.append(TensorBoardTracker(run, config, step))
        else:
            opened.append(Background(name, partial(SERVICES[name], run, config, step)))
    return opened
