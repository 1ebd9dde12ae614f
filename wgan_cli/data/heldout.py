"""Samples that training never sees."""

from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from wgan_cli.errors import BadInputError

Heldout = Annotated[float, Field(gt=0, lt=1)] | str
"""A share of the samples, or the path of other samples."""
Indices = NDArray[np.int64]


def split(count: int, share: float, where: str) -> tuple[Indices, Indices]:
    """The indices of the samples to train on, and of a `share` of at least 2 held-out ones: always the same draw.

    Raises `BadInputError`, naming `where`, for fewer than 4 samples.
    """
    if count < 4:
        raise BadInputError(f"{where}: holds {count} samples; 2 to train on and 2 held-out ones need 4")
    order: NDArray[Any] = torch.randperm(count, generator=torch.Generator().manual_seed(0)).numpy()
    heldout = min(max(2, round(share * count)), count - 2)
    return np.sort(order[heldout:]), np.sort(order[:heldout])


def apart(count: int, others: int, where: str) -> tuple[Indices, Indices]:
    """The indices of all samples, and of all held-out ones where these come from a path of their own.

    Raises `BadInputError`, naming that path by `where`, for fewer than 2 held-out samples.
    """
    if others < 2:
        raise BadInputError(f"{where}: holds {others} held-out sample; at least 2 are needed")
    return np.arange(count), np.arange(others)
