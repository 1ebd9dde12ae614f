"""Writes samples to files."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from wgan_cli import plots
from wgan_cli.config.run_config import RunConfig
from wgan_cli.errors import BadInputError, WganError
from wgan_cli.files import creations, write_atomically


def check_out(path: Path, config: RunConfig) -> None:
    """Raises `BadInputError`, before anything is drawn, for a path that `write` can't write."""
    if path.suffix not in (".npz", ".png", ""):
        raise BadInputError(f"--out {path}: must end in .png or .npz, or be a folder (no ending)")
    if not path.suffix and not config.data.is_image:
        raise BadInputError(f"--out {path}: a folder of PNGs needs images; write .npz, or .png for the density")
    if not path.parent.is_dir():
        raise BadInputError(f"--out {path}: there is no folder {path.parent}; make it first")


def write(samples: Tensor, names: Sequence[str], path: Path, config: RunConfig) -> None:
    """Writes samples (N, *shape) in the format of the ending of `path`: `.npz`, `.png`, or a folder of PNGs.

    `.npz` holds the arrays `samples` (uint8 N x H x W x C for images, else float32 N x features) and `names` (N).
    `.png` is one grid of images, or the density of plain values. A folder gets one PNG per sample. Raises `WganError`
    if writing fails.
    """
    is_image = config.data.is_image
    try:
        if path.suffix == ".npz":
            array: Any = plots.to_pixels(samples) if is_image else samples.float().cpu().numpy()
            buffer = io.BytesIO()
            np.savez(buffer, samples=array, names=np.array(names))
            write_atomically(path, buffer.getvalue())
        elif path.suffix == ".png":
            plots.write_png(path, plots.picture(samples, config.data))
        else:
            with creations() as made:
                made.folder(path)
                for pixels, name in zip(plots.to_pixels(samples), names, strict=True):
                    plots.write_png(path / f"{name}.png", pixels)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise WganError(f"--out {path}: can't be written ({reason})") from error
