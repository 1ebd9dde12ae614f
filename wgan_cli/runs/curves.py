"""Reads the runs that `wgan plot` draws."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from wgan_cli.config.load import load_config
from wgan_cli.errors import WganError
from wgan_cli.plots.curves import RunCurves
from wgan_cli.runs.loaded import load_run
from wgan_cli.runs.readers import read_grids, read_metrics

log = logging.getLogger("wgan")


def read_curves(runs: Sequence[Path], count: int = 4096) -> list[RunCurves]:
    """The figures and grids of each run folder, and `count` new samples if they are plain values; with 0, none.

    A folder that is named twice counts once.
    A run whose samples can't be drawn, such as one without a checkpoint yet, has none, and a warning says why.
    """
    curves, runs = [], list({os.path.realpath(run): run for run in runs}.values())
    names = [run.absolute().name or str(run) for run in runs]
    for run, name in zip(runs, names, strict=True):
        lines, config, samples = read_metrics(run), load_config(str(run / "config.yaml")), None
        if count and config.data.view == "pooled":
            try:
                samples = load_run(str(run), torch.device("cpu")).sample(range(count))
            except WganError as error:
                log.warning("%s; %s is drawn without new samples", error, run)
        unique = name if names.count(name) == 1 else str(run)
        curves.append(RunCurves(unique, lines, config.data, samples, read_grids(run)))
    return curves
