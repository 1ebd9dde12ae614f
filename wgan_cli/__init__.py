"""Train Wasserstein GANs from one YAML file, and know how true the critic's estimate is.

    import wgan_cli as wgan

    config = wgan.load_config("normal_gp", ["training.iterations=500"])
    run = wgan.load_run(wgan.train(config))
    samples = run.sample(range(1000))                    # (1000, 1): one sample per seed
    scores = run.critic(samples)
    wgan.distance(samples, wgan.load_run("runs/other").sample(range(1000)))["w1"]

A user's mistake raises `WganError` with the message that the command line prints. The first call imports torch.
"""

from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from wgan_cli.errors import BadInputError, WganError

if TYPE_CHECKING:
    from torch import Tensor

    from wgan_cli.config.run_config import RunConfig
    from wgan_cli.runs.loaded import LoadedRun

__version__ = "0.2.0"
__all__ = ["BadInputError", "WganError", "distance", "evaluate", "load_config", "load_run", "train"]


def __dir__() -> list[str]:
    """What a notebook completes."""
    return [*__all__, "__doc__", "__version__"]


def load_config(name: str | Path, overrides: Sequence[str] = ()) -> "RunConfig":
    """Loads the config file `name`, or the shipped config called `name`, and applies `KEY=VALUE` overrides.

    Raises `BadInputError` with one line per fault, each with the file, the line and the key.
    """
    from wgan_cli.config.load import load_config

    if isinstance(overrides, str):
        raise BadInputError(f"overrides: must be a list, such as [{overrides!r}]")
    return load_config(str(name), overrides)


def train(
    config: "RunConfig | str | Path", out: str | Path | None = None, *, resume: bool = False, device: str = "auto"
) -> Path:
    """Trains a run to its last iteration, and returns its folder.

    `config` is a loaded config, a file, or the name of a shipped config. The folder is `out`, or `runs/NAME-NNNN` with
    the next free number. With `resume`, a run that is already in `out` continues from its newest checkpoint. Raises
    `WganError` for bad input, and for a run that fails, diverges or is stopped.
    """
    from wgan_cli.config.shipped import run_name
    from wgan_cli.devices import pick_device
    from wgan_cli.paths import expanded
    from wgan_cli.training.loop import train_run

    if resume and out is None:
        raise BadInputError("resume needs out, the folder of the run to go on with")
    name = run_name(str(config)) if isinstance(config, str | Path) else "run"
    loaded = load_config(config) if isinstance(config, str | Path) else config
    return train_run(loaded, pick_device(device), out=expanded(out) if out else None, name=name, resume=resume)


def load_run(path: str | Path, *, device: str = "auto", raw: bool = False, best: bool = False) -> "LoadedRun":
    """Loads the trained networks from a run's folder or from one checkpoint file.

    `.sample(seeds)` draws samples (N, *shape), `.critic` scores them, `.config` is the run's config and `.step` its
    iteration. With `raw`, the generator has the weights of the last iteration, not the averaged ones; with `best`, all
    are those of the iteration whose samples were best. Raises `WganError` for a checkpoint that is missing, damaged, or
    does not fit its own config.
    """
    from wgan_cli.devices import pick_device
    from wgan_cli.runs.loaded import load_run

    return load_run(str(path), pick_device(device), raw=raw, best=best)


def evaluate(run: "LoadedRun | str | Path", num: int = 2000, *, seed: int = 0) -> dict[str, float]:
    """The figures of `wgan evaluate`, by name: of `num` samples of a trained run, against as many held-out real ones.

    `run` is a loaded run, a run's folder or a checkpoint file. The samples have the seeds `seed`, `seed` + 1, ...
    Raises `WganError` for a run that can't be loaded, or data that can't be had.
    """
    from wgan_cli.evaluation.figures import evaluate

    if not isinstance(num, Integral) or num < 2:
        raise BadInputError(f"num: must be a whole number, at least 2, but is {num!r}")
    if not isinstance(seed, Integral) or not 0 <= seed < 1 << 32:
        raise BadInputError(f"seed: must be a whole number from 0 to {(1 << 32) - 1}, but is {seed!r}")
    return evaluate(load_run(run) if isinstance(run, str | Path) else run, num, seed)


def distance(
    a: "Tensor | Iterable[float]", b: "Tensor | Iterable[float]", method: str = "exact", *, p: float = 1, seed: int = 0
) -> dict[str, float | bool]:
    """The distance between two sets of samples (N, ...) and (M, ...), tensors or arrays, as named figures.

    `method` is a method of `wgan distance`; for p = 1, `exact` gives `w1`. All samples are used, in their own unit:
    bytes are not scaled. Raises `BadInputError` for sets that do not fit each other or the method.
    """
    import torch

    from wgan_cli.evaluation.distances import Problem, measure

    try:
        x, y = (torch.as_tensor(samples).detach().cpu().double() for samples in (a, b))
        x, y = (points.reshape(len(points), -1) for points in (x, y))
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInputError(f"distance: needs two arrays of samples (N, ...): {error}") from error
    return measure(Problem(x, y, p=p, seed=seed), method).figures
