"""Layers over one, two or three spatial dimensions: of series, images and volumes."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wgan_cli.networks.base import Norm

_CONV: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_BATCH_NORM: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_convolve: dict[int, Any] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_convolve_transposed: dict[int, Any] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def convolution(dims: int, inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Module:
    """A convolution that keeps the sizes (stride 1, an odd kernel), or halves even ones (stride 2)."""
    return _CONV[dims](inputs, outputs, kernel, stride=stride, padding=(kernel - 1) // 2)


def doubling(dims: int, inputs: int, outputs: int, kernel: int) -> nn.Module:
    """A transposed convolution that doubles the sizes."""
    padding, rest = (kernel - 1) // 2, kernel % 2
    return _TRANSPOSED[dims](inputs, outputs, kernel, stride=2, padding=padding, output_padding=rest)


def channels_per_group(norm: Norm, channels: int) -> int:
    """How many of a sample's `channels` a per-sample norm takes together."""
    return {"layer": channels, "group": math.gcd(channels, 16), "instance": 1}[norm]


def normalisation(norm: Norm, dims: int, channels: int) -> list[nn.Module]:
    """The norm of (N, channels, *positions), with a scale and an offset for each channel; nothing for `none`."""
    if norm == "none":
        return []
    if norm == "batch":
        return [_BATCH_NORM[dims](channels)]
    return [nn.GroupNorm(channels // channels_per_group(norm, channels), channels)]


class PooledConv(nn.Module):
    """A convolution and then the mean over each 2 x 2 (x 2) outputs, which halves even sizes.

    Computed as one convolution of stride 2 with the mean of the shifted kernels: the same function, and for 3 x 3
    kernels 4/9 of the products.
    """

    def __init__(self, dims: int, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv: Any = convolution(dims, inputs, outputs, kernel)

    def forward(self, x: Tensor) -> Tensor:
        dims = x.dim() - 2
        kernel = _sum_of_shifts(self.conv.weight) / 2**dims
        return _convolve[dims](x, kernel, self.conv.bias, stride=2, padding=self.conv.padding)


class UpsampledConv(nn.Module):
    """A convolution of the nearest-neighbour upsampled input, which doubles the sizes.

    Computed as one transposed convolution of stride 2 with the sum of the shifted kernels: the same function, and
    for 3 x 3 kernels 4/9 of the products.
    """

    def __init__(self, dims: int, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv: Any = convolution(dims, inputs, outputs, kernel)

    def forward(self, x: Tensor) -> Tensor:
        dims = x.dim() - 2
        mirrored = self.conv.weight.transpose(0, 1).flip(tuple(range(2, dims + 2)))
        kernel = _sum_of_shifts(mirrored)
        return _convolve_transposed[dims](x, kernel, self.conv.bias, stride=2, padding=self.conv.padding)


def _sum_of_shifts(kernel: Tensor) -> Tensor:
    """The sum of a kernel (·, ·, k, ...) and its shifts by one along each spatial dimension: (·, ·, k + 1, ...)."""
    for dim in range(2, kernel.dim()):
        zero = torch.zeros_like(kernel.narrow(dim, 0, 1))
        kernel = torch.cat([kernel, zero], dim) + torch.cat([zero, kernel], dim)
    return kernel


class MeanOverPositions(nn.Module):
    """(N, channels, *positions) to (N, channels)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)
