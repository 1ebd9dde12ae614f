"""Train Wasserstein GANs from one YAML file, and know how true the critic's estimate is.

    import wgan_cli as wgan

    config = wgan.load_config("normal_gp", ["training.iterations=500"])
    run = wgan.load_run(wgan.train(config))
    samples = run.sample(range(1000))                    # (1000, 1): one sample a seed
    scores = run.critic(samples)
    wgan.distance(samples, wgan.load_run("runs/other").sample(range(1000)))["w1"]

Mistakes raise `WganError`, with the message that the command line prints. Torch is imported by the first call.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wgan_cli.errors import BadInputError, WganError

if TYPE_CHECKING:
    from torch import Tensor

    from wgan_cli.config.run_config import RunConfig
    from wgan_cli.runs.loaded import LoadedRun

__version__ = "0.2.0"
__all__ = ["BadInputError", "WganError", "distance", "load_config", "load_run", "train"]


def load_config(name: str | Path, overrides: Sequence[str] = ()) -> "RunConfig":
    """The config in the file `name`, or the shipped config of that name, with `KEY=VALUE` overrides applied."""
    from wgan_cli.config.load import load_config

    return load_config(str(name), overrides)


def train(
    config: "RunConfig | str | Path", out: str | Path | None = None, *, resume: bool = False, device: str = "auto"
) -> Path:
    """Trains a run to its last iteration, and returns its folder.

    `config` is a loaded config, a file or a shipped name. The folder is `out`, else a new number below `runs`; with
    `resume` a run that `out` holds goes on from its newest checkpoint.
    """
    from wgan_cli.devices import pick_device
    from wgan_cli.training.loop import train_run

    name = "run" if not isinstance(config, str | Path) else Path(config).stem
    loaded = load_config(config) if isinstance(config, str | Path) else config
    return train_run(loaded, pick_device(device), out=Path(out) if out else None, name=name, resume=resume)


def load_run(path: str | Path, *, device: str = "auto", raw: bool = False) -> "LoadedRun":
    """The trained networks of a run's folder or of one checkpoint file.

    `.sample(seeds)` draws samples, `.critic` scores them, `.config` and `.step` say where they come from. With `raw`
    the generator has the weights of the last iteration, not the averaged ones.
    """
    from wgan_cli.devices import pick_device
    from wgan_cli.runs.loaded import load_run

    return load_run(str(path), pick_device(device), raw=raw)


def distance(
    a: "Tensor | Iterable[float]", b: "Tensor | Iterable[float]", method: str = "exact", *, p: float = 1, seed: int = 0
) -> dict[str, float | bool]:
    """The distance between two sets of samples (N, ...) and (M, ...), tensors or arrays, as named figures.

    `method` is one of those of `wgan distance`; `exact` gives `w1` for p = 1. All samples are used.
    """
    import torch

    from wgan_cli.evaluation.distances import Problem, measure

    x, y = (torch.as_tensor(samples).detach().cpu().double() for samples in (a, b))
    x, y = (points.reshape(len(points), -1) for points in (x, y))
    return measure(Problem(x, y, p=p, seed=seed), method).figures
