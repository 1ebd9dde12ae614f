"""Orthogonal weights: critics of slope at most 1 by construction."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import register_parametrization

from wgan_cli.lipschitz.base import LipschitzSpec


class Orthonormal(nn.Module):
    """A matrix to the Q of its QR decomposition: with orthonormal columns, or rows if these are fewer.

    With R's diagonal positive, Q is a smooth function. `torch.nn.utils.parametrizations.orthogonal` gives such matrices
    too, but its gradient takes 6 (256 x 784) to 800 (128 x 3136) times as long.
    """

    def forward(self, matrix: Tensor) -> Tensor:
        is_wide = matrix.shape[0] < matrix.shape[1]
        q, r = torch.linalg.qr(matrix.T if is_wide else matrix)
        q = q * r.diagonal().sign()
        return q.T if is_wide else q

    def right_inverse(self, matrix: Tensor) -> Tensor:
        """A matrix that `forward` gives; from any other one, training begins at the nearest Q that QR finds."""
        return self.forward(matrix)


class Patches(nn.Module):
    """A convolution whose kernels don't overlap, with its weight as the matrix of one linear layer for all patches."""

    def __init__(self, convolution: _ConvNd) -> None:
        super().__init__()
        weight: Any = convolution.weight.detach().movedim(1, -1)  # the channels of a value side by side, as in samples
        self._kernel = weight.shape[1:]
        self.linear = nn.Linear(math.prod(self._kernel), len(weight))
        self.linear.load_state_dict({"weight": weight.flatten(1), "bias": convolution.bias})

    def forward(self, x: Tensor) -> Tensor:
        convolve: Any = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}[x.dim()]
        kernels = self.linear.weight.unflatten(1, self._kernel).movedim(-1, 1)
        return convolve(x, kernels, self.linear.bias, self._kernel[:-1])


class Orthogonal(LipschitzSpec):
    """Keeps the weights of all layers orthogonal (Anil et al., 2019).

    A weight with orthonormal rows or columns makes no distance longer. With activations of slope at most 1, nor does
    the critic: it needs no penalty, and its gap is itself at most W1. To come near W1, such critics need `activation:
    maxmin`, which keeps the length of gradients; relu and others lose some in each layer, and so does a layer that is
    wider than its input. Convolutions need `kernel: 2`, so that each value of a sample is in one patch alone; four
    times as many channels in each stage (as 4, 16, 64 for grey images) lose nothing.
    """

    kind: Literal["orthogonal"] = "orthogonal"

    @property
    def bounds_slope(self) -> bool:
        return True

    @property
    def proves_gap(self) -> bool:
        return True

    @property
    def is_capturable(self) -> bool:
        return False  # the QR decomposition is cuSOLVER's, which allocates and waits as it likes

    def attach(self, critic: nn.Module) -> nn.Module:
        for name, module in list(critic.named_modules()):
            if isinstance(module, _ConvNd):
                critic.set_submodule(name, Patches(module))
        for module in list(critic.modules()):
            if isinstance(module, nn.Linear):
                register_parametrization(module, "weight", Orthonormal())
        return critic
