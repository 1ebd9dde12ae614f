"""Activations by name, and the layers of networks without spatial dimensions that torch lacks."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, leaky_relu_


class _Kinked(torch.autograd.Function):
    """max(x, slope · x) without a second derivative; the second derivative of torch's version is a tensor of zeros.

    When a penalty is differentiated twice, torch's version propagates these zeros through the whole network. In a
    convolutional critic, this takes a sixth of the time of a step.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, in_place: bool) -> Tensor:
        ctx.slope = slope
        if in_place:
            ctx.mark_dirty(x)
        result = leaky_relu_(x, slope) if in_place else leaky_relu(x, slope)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (result,) = ctx.saved_tensors  # the result has the sign of the input
        return torch.ops.aten.leaky_relu_backward(gradients[0], result.detach(), ctx.slope, True), None, None


class LeakyReLU(nn.Module):
    """max(x, slope · x); with slope 0 it is ReLU."""

    in_place = False

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return _Kinked.apply(x, self.slope, self.in_place)
        return leaky_relu_(x, self.slope) if self.in_place else leaky_relu(x, self.slope)


class InPlaceLeakyReLU(LeakyReLU):
    """`LeakyReLU` that overwrites its input. The input must be the output of a layer that nothing else reads."""

    in_place = True


class MaxMin(nn.Module):
    """Sorts pairs of channels, channel i and i + half: the larger one comes first (Anil et al., 2019).

    This permutes the values, so gradients keep their length. An odd last channel stays as it is.
    """

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        if half == 0:
            return x
        first, second, *rest = x.split(half, 1)  # no empty rest, which would spoil the layout of compiled images
        return torch.cat([torch.maximum(first, second), torch.minimum(first, second), *rest], 1)


Activation = Literal["relu", "leaky_relu", "tanh", "silu", "elu", "softplus", "maxmin"]
_SMOOTH: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "maxmin": MaxMin,
}
_SLOPES = {"relu": 0.0, "leaky_relu": 0.2}


def activation(name: Activation, *, in_place: bool = False) -> nn.Module:
    """The activation called `name`. With `in_place` it may overwrite its input, to save memory and time."""
    if name in _SLOPES:
        return (InPlaceLeakyReLU if in_place else LeakyReLU)(_SLOPES[name])
    return _SMOOTH[name]()


class Residual(nn.Module):
    """shortcut(x) + body(x) (He et al., 2016). Both read x, so neither may begin with a layer that overwrites it."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        """Without a `shortcut`, x itself is added."""
        super().__init__()
        self.body = body
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.body(x)
