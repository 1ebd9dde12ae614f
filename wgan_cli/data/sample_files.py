"""Reads files of samples, from users or from `wgan sample`: .npy, .npz, .pt and .csv."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wgan_cli.errors import BadInputError
from wgan_cli.files import load_plain


def read_samples(path: Path) -> Tensor:
    """The samples in a file, one per row (N, ...), on the CPU and in the file's own type.

    `.npy`; `.npz` (array `samples`, else its only one); `.pt` (a tensor); `.csv` (numbers, with or without a header
    line). Raises `BadInputError` for anything else.
    """
    try:
        if not path.is_file():
            raise BadInputError(f"{path}: no such file")
        samples = _READERS[path.suffix](path)
    except (OSError, ValueError, TypeError, EOFError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInputError(f"{path}: can't be read as {path.suffix} ({reason})") from error
    if samples.dim() == 0 or not samples.numel():
        raise BadInputError(f"{path}: holds no samples")
    if samples.is_complex():
        raise BadInputError(f"{path}: holds complex numbers, which are not supported")
    return samples


def _read_npz(path: Path) -> Tensor:
    with np.load(path, allow_pickle=False) as file:
        if "samples" not in file and len(file.files) != 1:
            raise ValueError(f"has no array `samples`, but {', '.join(file.files) or 'none at all'}")
        return torch.from_numpy(file["samples" if "samples" in file else file.files[0]])


def _read_pt(path: Path) -> Tensor:
    content = load_plain(path)
    if not isinstance(content, Tensor):
        raise ValueError(f"holds a {type(content).__name__}, not a tensor")
    return content


def _read_csv(path: Path) -> Tensor:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    try:
        [float(cell) for cell in rows[0]] if rows else []
    except ValueError:
        rows = rows[1:]  # a header
    return torch.tensor([[float(cell) for cell in row] for row in rows], dtype=torch.float64)


_READERS: dict[str, Callable[[Path], Tensor]] = {
    ".npy": lambda path: torch.from_numpy(np.load(path, allow_pickle=False)),
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".csv": _read_csv,
}

ENDINGS = tuple(_READERS)
