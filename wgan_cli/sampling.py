"""A generator out of a checkpoint, seeded draws from it, and the files they go to.

A seed has its own latent, drawn on the CPU: it gives the same sample (to float32 rounding) whatever is drawn
beside it, on every device.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wgan_cli import plots
from wgan_cli.checkpoints import checkpoint_config, find_checkpoint
from wgan_cli.config import RunConfig, load_config
from wgan_cli.errors import BadInputError, ExitCode, WganError
from wgan_cli.files import write_atomically
from wgan_cli.models import Latent, averaged, generate
from wgan_cli.run_dir import read_grids, read_metrics, write_png

MOST_SEEDS = 10_000_000


@dataclass(frozen=True)
class LoadedRun:
    """A trained generator and critic in evaluation mode, their run's config, and the iteration they come from."""

    generator: nn.Module
    critic: nn.Module
    config: RunConfig
    step: int


def load_run(target: str, device: torch.device, *, raw: bool = False) -> LoadedRun:
    """The networks of the run folder or checkpoint file `target`.

    The generator has the averaged weights where the run keeps them, the last iteration's with `raw`. Raises
    `WganError` for a checkpoint that is missing, damaged, or does not fit its own config.
    """
    state = find_checkpoint(target)
    try:
        config = checkpoint_config(state, target)
        generator = config.generator.build(config.latent, config.data.shape)
        critic = config.critic.build(config.data.shape)
        generator.load_state_dict(state["generator"])
        critic.load_state_dict(state["critic"])
        if config.training.average is not None and not raw:
            average = averaged(generator, config.training.average)
            average.load_state_dict(state["average"])
            generator = average.module
        return LoadedRun(generator.to(device).eval(), critic.to(device).eval(), config, int(state["step"]))
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInputError(f"--ckpt {target}: its weights do not fit its config ({reason})") from error


def parse_seeds(text: str) -> list[int]:
    """`0,3-5` is [0, 3, 4, 5]. Raises `BadInputError` for anything else."""
    ranges = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise BadInputError(f"--seeds {text}: {part!r} is no seed; write numbers and ranges, such as 0,3-9")
        ranges.append(range(int(first), int(last or first) + 1))
    if any(not seeds for seeds in ranges):
        raise BadInputError(f"--seeds {text}: a range goes from its smaller number to its larger, such as 3-9")
    check_seeds(max(seeds[-1] for seeds in ranges), sum(seeds[-1] - seeds[0] + 1 for seeds in ranges))
    return [seed for seeds in ranges for seed in seeds]


def parse_pair(text: str) -> tuple[int, int]:
    """`3,7` is (3, 7): the two seeds of `--interpolate`."""
    first, _, last = text.partition(",")
    if not (first.strip().isdecimal() and last.strip().isdecimal()):
        raise BadInputError(f"--interpolate {text}: must name two seeds, such as 3,7")
    check_seeds(max(int(first), int(last)), 2)
    return int(first), int(last)


def check_seeds(largest: int, count: int) -> None:
    if largest >= 2**32:  # torch's generator on the CPU keeps no more of a seed
        raise BadInputError(f"--seed {largest}: is too large; seeds are below 2**32")
    if count > MOST_SEEDS:
        raise BadInputError(
            f"{count:,} samples are more than one file can hold here ({MOST_SEEDS:,}); draw them in parts"
        )


def interpolated(latent: Latent, first: int, last: int, steps: int) -> Tensor:
    """Latents (steps, dim) on the way from one seed's to another's.

    Normal latents turn along the arc between them, as the straight line passes through lengths that no draw
    has (White, 2016); uniform ones go straight.
    """
    start, end = latent.from_seeds([first, last])
    way = torch.linspace(0, 1, steps)[:, None]
    if latent.kind == "uniform" or latent.dim == 1 or first == last:
        return torch.lerp(start, end, way)
    angle = torch.acos(torch.nn.functional.cosine_similarity(start, end, dim=0).clamp(-1, 1))
    return (torch.sin((1 - way) * angle) * start + torch.sin(way * angle) * end) / torch.sin(angle)


def check_out(path: Path, config: RunConfig) -> None:
    """Refuses what `write` could not write there, before anything is drawn."""
    if path.suffix not in (".npz", ".png", ""):
        raise BadInputError(f"--out {path}: must end in .png or .npz, or be a folder (no ending)")
    if not path.suffix and not config.data.is_image:
        raise BadInputError(f"--out {path}: a folder of PNGs needs images; write .npz, or .png for the density")
    if not path.parent.is_dir():
        raise BadInputError(f"--out {path}: there is no folder {path.parent}; make it first")


def write(samples: Tensor, names: Sequence[str], path: Path, config: RunConfig) -> None:
    """Writes samples (N, *shape) as `path` says: `.npz`, one `.png`, or a folder of one PNG a sample.

    `.npz` holds `samples` (uint8 N x H x W x C for images, else float32 N x features) and `names`, what each
    was drawn from. A `.png` of plain features shows their density. Raises `WganError` where it can't be written.
    """
    is_image = config.data.is_image
    try:
        if path.suffix == ".npz":
            array: Any = plots.to_pixels(samples) if is_image else samples.float().cpu().numpy()
            buffer = io.BytesIO()
            np.savez(buffer, samples=array, names=np.array(names))
            write_atomically(path, buffer.getvalue())
        elif path.suffix == ".png":
            write_png(path, plots.picture(samples, config.data))
        else:
            path.mkdir(exist_ok=True)
            for pixels, name in zip(plots.to_pixels(samples), names, strict=True):
                write_png(path / f"{name}.png", pixels)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise WganError(f"--out {path}: can't be written ({reason})", ExitCode.RUN_FAILED) from error


def draw(loaded: LoadedRun, latents: Tensor, device: torch.device) -> Tensor:
    """Samples (N, *shape) of latents (N, dim). Raises `WganError` where they are not finite."""
    samples = generate(loaded.generator, latents.to(device))
    if not samples.isfinite().all():
        raise WganError(f"samples at iteration {loaded.step} are not finite: the run had diverged")
    return samples


def curves(runs: Sequence[Path], count: int = 4096) -> list[plots.RunCurves]:
    """What `wgan plot` draws of each run folder: its figures, its grids, and `count` samples of plain values."""
    drawn = []
    device = torch.device("cpu")
    names = [run.resolve().name for run in runs]
    for run, name in zip(runs, names, strict=True):
        lines, config, samples = read_metrics(run), load_config(str(run / "config.yaml")), None
        if not config.data.is_image:
            samples = draw(load_run(str(run), device), config.latent.from_seeds(range(count)), device)
        shown = name if names.count(name) == 1 else str(run)
        drawn.append(plots.RunCurves(shown, lines, config.data, samples, read_grids(run)))
    return drawn
