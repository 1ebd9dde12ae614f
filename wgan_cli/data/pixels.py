"""Images as bytes and as numbers in [-1, 1]."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]
Array = NDArray[Any]


def scale(samples: Tensor) -> Tensor:
    """uint8 in 0..255 to torch's default type (float32 unless set otherwise) in [-1, 1]; others as they are."""
    if samples.dtype != torch.uint8:
        return samples
    return samples.to(torch.get_default_dtype()).mul_(2 / 255).sub_(1)


def to_pixels(images: Tensor) -> Pixels:
    """Images (N, C, H, W) in [-1, 1] as uint8 (N, H, W, C), each value rounded to the nearest."""
    return as_bytes(images).cpu().numpy()


def as_bytes(images: Tensor) -> Tensor:
    """As `to_pixels`, as a tensor on the same device."""
    scaled = images.float().add(1).mul(255 / 2).round().clamp(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1)
