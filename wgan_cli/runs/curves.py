"""Reads the runs that `wgan plot` draws."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from wgan_cli.config.load import load_config
from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.plots.curves import RunCurves
from wgan_cli.runs.loaded import load_run
from wgan_cli.runs.readers import read_grids, read_metrics

log = logging.getLogger("wgan")


def read_curves(runs: Sequence[Path], count: int = 4096) -> list[RunCurves]:
    """The figures and grids of each run folder, and `count` new samples if they are plain values; with 0, none.

    A folder that is named twice counts once. One that can't be read is left out with a warning, if others can. A run
    whose samples can't be drawn, such as one without a checkpoint yet, has none, and a warning says why. Raises
    `WganError` if no run can be read.
    """
    curves, runs = [], list({os.path.realpath(run): run for run in runs}.values())
    names = [run.absolute().name or str(run) for run in runs]
    faults: list[WganError] = []
    for run, name in zip(runs, names, strict=True):
        try:
            curves.append(_read(run, name if names.count(name) == 1 else str(run), count))
        except WganError as error:
            faults.append(error)
    if not curves:
        raise faults[0]
    for fault in faults:
        log.warning("%s; left out", fault)
    return curves


def _read(run: Path, name: str, count: int) -> RunCurves:
    lines, config, samples = read_metrics(run), _config(run), None
    if count and config.data.view == "pooled":
        try:
            samples = load_run(str(run), torch.device("cpu")).sample(range(count))
        except WganError as error:
            log.warning("%s; %s is drawn without new samples", error, run)
    return RunCurves(name, lines, config.data, samples, read_grids(run))


def _config(run: Path) -> RunConfig:
    path = run / "config.yaml"
    try:
        if path.exists():
            return load_config(str(path))
    except OSError as error:
        raise BadInputError(f"{path}: can't be read ({error.strerror})") from error
    raise BadInputError(f"{run}: holds no run, as it has no config.yaml")
