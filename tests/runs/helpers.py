"""Runs that nobody trained: their files alone."""

from contextlib import suppress
from pathlib import Path

import torch

from wgan_cli.config.load import load_config
from wgan_cli.errors import WganError
from wgan_cli.runs.folder import RunFolder

FIGURES = {"critic/gap": 0.5, "critic/w1": 0.25, "speed/iterations_per_second": 10.0}


def make_run(path: Path, *steps: int, error: Exception | None = None) -> None:
    """A run of 40 iterations that logged at `steps`, then ended, by `error` where there is one."""
    path.mkdir(parents=True)
    config = load_config("normal_gp", ["training.iterations=40", "output.log_every=10"])
    with suppress(WganError, OSError), RunFolder(path, config, 0, torch.device("cpu")) as folder:
        for step in steps:
            folder.scalars(FIGURES | ({"truth/w1": step / 100} if step < 40 else {}), step)
        if error is not None:
            raise error
