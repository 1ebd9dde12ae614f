"""Weights & Biases: its server, or files to be sent later (WANDB_MODE=offline)."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from wgan_cli.config.run_config import RunConfig
from wgan_cli.data.pixels import Pixels
from wgan_cli.trackers.base import PROJECT, Tracker, remember, remembered, tags


class WandbTracker(Tracker):
    """A run of wandb with the config, in the project of $WANDB_PROJECT, else `wgan`. Its files lie in the run's folder.

    Figures have the iteration as their axis. wandb's own steps can only grow, so a run that goes on from an older
    checkpoint could not log its iterations again.
    """

    def __init__(self, run: Path, config: RunConfig, step: int) -> None:
        import wandb

        known = remembered(run, "wandb") or secrets.token_hex(4)
        remember(run, "wandb", known)
        self._image = wandb.Image
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=known,
            resume="allow",
            name=run.absolute().name,
            dir=str(run),
            config=config.to_dict(),
            tags=[f"{key}: {value}" for key, value in tags(config).items()],
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("*", step_metric="iteration")

    def scalars(self, figures: Mapping[str, float], step: int) -> None:
        self._run.log({**figures, "iteration": step})

    def picture(self, pixels: Pixels, step: int) -> None:
        self._run.log({"samples": self._image(pixels), "iteration": step})

    def close(self, state: str) -> None:
        self._run.finish(exit_code=0 if state == "finished" else 1)
