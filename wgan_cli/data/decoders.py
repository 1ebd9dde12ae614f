"""From training's units to the user's, as modules of torch's operations: what an exported generator ends in."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from wgan_cli.data.array_files import Layout
from wgan_cli.data.pixels import as_bytes
from wgan_cli.data.scaling import Scaling


class AsPixels(nn.Module):
    """Images (N, C, H, W) in [-1, 1] to uint8 (N, H, W, C), each value rounded to the nearest."""

    def forward(self, samples: Tensor) -> Tensor:
        return as_bytes(samples)


class AsFloats(nn.Module):
    """Samples as they are, in float32."""

    def forward(self, samples: Tensor) -> Tensor:
        return samples.float()


class Unscaled(nn.Module):
    """`Scaling.unscaled` of samples (N, *shape): the same values, in the input's type and in float64 until then.

    A type that torch lacks, such as NumPy's longdouble, becomes float64.
    """

    shift: Tensor
    scale: Tensor
    whole: Tensor

    def __init__(self, scaling: Scaling, shape: Sequence[int], channels: Layout = "first") -> None:
        super().__init__()
        for name in ("shift", "scale", "whole"):
            numbers = torch.from_numpy(np.asarray(getattr(scaling, name)))
            self.register_buffer(name, numbers.reshape(1, -1, *[1] * (len(shape) - 1)))
        self.number_type: torch.dtype = getattr(torch, scaling.dtype, torch.float64)
        self.channels = channels

    def forward(self, samples: Tensor) -> Tensor:
        values = samples.double() * self.scale + self.shift
        values = self._typed(torch.where(self.whole, values.round(), values))
        if self.channels == "none":
            return values.squeeze(1)
        return values.movedim(1, -1) if self.channels == "last" else values

    def _typed(self, values: Tensor) -> Tensor:
        if self.number_type == torch.bool:
            return values > 0.5
        if self.number_type.is_floating_point:
            return values.to(self.number_type)
        limits = torch.iinfo(self.number_type)
        below = float(np.nextafter(float(limits.max), 0))
        whole = values.clamp(limits.min, below).to(self.number_type)
        return torch.where(
            values >= limits.max, torch.tensor(limits.max, dtype=self.number_type, device=values.device), whole
        )
